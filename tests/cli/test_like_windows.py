"""The whole command line where what Windows lacks is taken away; like_windows/sitecustomize.py says what that is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT, Finished, Program
from PIL import Image

FAST = ("data=digits", "trainer.max_epochs=2", "trainer.accelerator=cpu")


@pytest.fixture
def windows(program: Program) -> Program:
    """Text is of an old code page where nobody says otherwise."""
    path = os.pathsep.join(filter(None, [str(PROJECT / "tests" / "like_windows"), os.environ.get("PYTHONPATH")]))
    program.environment |= {"PYTHONPATH": path, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    program.environment |= {"PYTHONIOENCODING": "cp1252", "PYTHONWARNINGS": "ignore:only soft file lock"}
    return program


def _good(finished: Finished) -> str:
    assert (finished.code, finished.err) == (0, "")
    return finished.out


def test_train_resume_evaluate_predict_show_and_report(windows: Program, tmp_path: Path) -> None:
    out = _good(windows.run(*FAST, "model.hidden=[16,8]"))
    (run,) = (tmp_path / "outputs" / "digits").iterdir()
    assert f"run folder outputs/digits/{run.name}" in out
    assert json.loads((run / "result.json").read_text())["epochs"] == 2
    assert "epoch 2/2" in (run / "train.log").read_text(encoding="utf-8")

    assert "resuming " in _good(windows.run(f"resume={run}", "trainer.max_epochs=3"))
    assert json.loads((run / "result.json").read_text())["epochs"] == 3

    evaluated = windows.run(run, "--pictures", script="scripts/evaluate.py")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.out.startswith("test accuracy ")
    Image.new("L", (20, 20), 255).save(tmp_path / "white.png")
    drawn = Image.new("L", (20, 20), 255)
    drawn.paste(0, (9, 3, 11, 17))
    drawn.save(tmp_path / "one.png")
    assert len(_good(windows.run(run, tmp_path / "one.png", script="scripts/predict.py")).splitlines()) == 1
    assert "1,437 training images" in _good(windows.run("data=digits", script="scripts/show.py"))
    assert "No run is complete" not in _good(windows.run(tmp_path / "outputs", script="scripts/report.py"))
    assert (tmp_path / "outputs" / "report.md").exists()


def test_a_sweep_and_one_of_its_jobs_that_fails(windows: Program, tmp_path: Path) -> None:
    """The processes of its jobs are no copies there: each imports all by itself."""
    sweep = ("-m", *FAST, "jobs=2", "seed=0,1", "sweep_name=two")
    finished = windows.run(*sweep)
    assert finished.code == 0, finished.err
    folder = tmp_path / "outputs" / "sweeps" / "two"
    assert len(list(folder.glob("*/result.json"))) == 2
    assert "2 jobs, 2 complete" in _good(windows.run(*sweep))
    refused = windows.run("-m", *FAST, "trainer.profiler=foo", "seed=0,1", "sweep_name=refused")
    assert refused.code == 2
    assert "trainer: Lightning refuses these flags" in refused.err


@pytest.mark.parametrize(
    "code",
    [
        "open('a:b', 'w')",
        "open('nul.txt', 'w')",
        "os.mkdir('dot.')",
        "file = open('open', 'w'); os.replace('closed', 'open')",
        "file = open('open', 'w'); os.replace('open', 'closed')",
        "file = open('open', 'w'); os.remove('open')",
        "os.open('.', os.O_RDONLY)",
        "os.fsync(open('closed').fileno())",
        "import fcntl",
        "import signal; signal.SIGHUP",
        "os.fork()",
        "os.kill(os.getpid(), 0)",
    ],
)
def test_what_is_refused_there(windows: Program, tmp_path: Path, code: str) -> None:
    """Else the tests above would say nothing."""
    (tmp_path / "closed").touch()
    started = [sys.executable, "-c", f"import os; {code}"]
    finished = subprocess.run(started, cwd=tmp_path, env=windows.environment, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith(
        ("OSError", "PermissionError", "ModuleNotFoundError", "AttributeError", "AssertionError")
    )
