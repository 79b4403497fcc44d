"""What needs no cluster of the launcher for SLURM; the rest is in tests/slurm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlplab.errors import ConfigError
from mlplab.sweeps import processes, slurm
from mlplab.sweeps.slurm import queue
from mlplab.sweeps.slurm.work import Work

SQUEUE = """#!/bin/sh
cat <<'END'
7_0|RUNNING|0|
7_1|FAILED|35072|
7_2|CANCELLED|15|
7_3|FAILED|256|
8|OUT_OF_MEMORY|9|
9|FAILED|65280|
END
"""


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = tmp_path / "squeue"
    path.write_text(SQUEUE)
    path.chmod(0o755)
    return path


def test_each_end_of_a_job_has_its_words(squeue: Path) -> None:
    states = queue.states()
    assert states is not None
    assert {job: str(state) for job, state in states.items() if state.is_over} == {
        "7_1": "was killed by SIGKILL",
        "7_2": "was cancelled",
        "7_3": "ended with exit code 1",
        "8": "ran out of memory (hydra.launcher.mem_gb)",
        "9": "ended with exit code 255",
    }
    assert str(queue.UNKNOWN) == "is not known to SLURM any more"


def test_a_cluster_that_does_not_answer_says_nothing_about_jobs(squeue: Path) -> None:
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert queue.states() is None


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_submitit_launcher.submitit_launcher", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[cluster\]'"):
        slurm.submitit_launcher({})


def test_hydra_finds_the_launcher_and_imports_nothing_for_it() -> None:
    code = (
        "import sys; from hydra.core.plugins import Plugins;"
        "assert 'hydra_plugins.mlplab_slurm.Slurm' in Plugins.instance().class_name_to_class;"
        "assert not {'submitit', 'torch', 'mlplab'} & set(sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize(("content", "cancelled"), [("42", [["42"]]), ("", []), ("--me", []), (None, [])])
def test_jobs_that_a_killed_sweep_has_left_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, cancelled: list[list[str]]
) -> None:
    found: list[list[str]] = []
    monkeypatch.setattr(queue, "cancel", lambda jobs: found.append(list(jobs)))
    monkeypatch.setattr(queue, "states", dict)
    mark = tmp_path / slurm.ARRAY
    if content is None:
        os.mkfifo(mark)  # to open it would wait for who writes to it
    else:
        mark.write_text(content)
    slurm._end_earlier(tmp_path)
    assert found == cancelled


def test_before_a_job_goes_back_into_the_queue_its_process_has_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="in the extra `cluster`")
    patience: list[float] = []
    monkeypatch.setattr(processes, "stop", patience.append)
    work = Work(launcher=None)
    again = work.checkpoint(["seed=1"], "hydra.sweep.dir")
    assert (again.function, again.args) == (work, (["seed=1"], "hydra.sweep.dir"))
    assert len(patience) == 1
    assert 0 < patience[0] < 30  # KillWait
