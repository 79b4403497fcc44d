"""Sweeps whose workers run on a real SLURM, which `make test-slurm` starts for them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import PROJECT, Program
from waiting import Process, wait_until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif("MLPLAB_TEST_CLUSTER" not in os.environ, reason="needs a cluster of its own: make test-slurm"),
]

CLUSTER = ("launcher=slurm", "launcher.memory=1")
LONG = "trainer.max_epochs=100000"
FAULTY_PYTHON = os.pathsep.join([str(PROJECT / "tests" / "faulty_python"), os.environ.get("PYTHONPATH", "")])


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Sweep:
    """Six jobs of digits for two workers; they wait after their first epoch while the file `held` exists."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.held = program.folder / "held"
        self.folder = program.folder / "outputs" / "sweeps" / "six"
        program.environment |= {"PYTHONPATH": FAULTY_PYTHON, "HELD": str(self.held)}
        self.processes: list[Process] = []

    def start(
        self, *overrides: str, hold: bool = True, script: str = "train.py", where: Sequence[str] = CLUSTER
    ) -> Process:
        if hold:
            self.held.touch()
        grid = ("-m", "data=digits", "model.hidden=8,16,32", "seed=0,1", "trainer.max_epochs=3", "sweep_name=six")
        quick = ("jobs=2", "trainer.accelerator=cpu", "show=none")
        self.processes.append(self.program.start(*grid, *quick, *where, *overrides, script=script))
        return self.processes[-1]

    def training(self, count: int = 2) -> dict[str, Path]:
        """The run folders that can be resumed, by the ID of the worker."""
        wait_until(lambda: len(self._training()) >= count)
        return self._training()

    def _training(self) -> dict[str, Path]:
        folders = [path.parents[1] for path in self.folder.glob("*/checkpoints/last.ckpt")]
        running = [folder for folder in folders if _status(folder)["status"] == "running"]
        return {_worker(folder): folder for folder in running}

    def results(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.folder.glob("*/result.json")}


def _status(folder: Path) -> dict[str, object]:
    return json.loads((folder / "status.json").read_text())


def _worker(folder: Path) -> str:
    """Return SLURM's ID of the job that trains a run."""
    variables = Path(f"/proc/{_status(folder)['pid']}/environ").read_text().split("\0")
    environment = dict(variable.partition("=")[::2] for variable in variables)
    array = environment.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment["SLURM_JOB_ID"]


@pytest.fixture(autouse=True)
def _empty_queue() -> Iterator[None]:
    yield
    slurm("scancel", "--me")
    wait_until(lambda: not slurm("squeue", "--noheader"))


@pytest.fixture
def sweep(program: Program) -> Iterator[Sweep]:
    one = Sweep(program)
    yield one
    for process in one.processes:
        process.kill()
        process.communicate()


def test_two_workers_train_six_jobs(sweep: Sweep) -> None:
    process = sweep.start(hold=False)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert len(sweep.results()) == 6
    assert len(list((sweep.folder / ".slurm").glob("*/*_log.err"))) == 2
    assert "six: 6 jobs, 6 to start" in out
    assert "[6/6] " in err


@pytest.mark.parametrize("how", ["KILL", "TERM", "requeue"])
def test_the_death_of_a_worker_is_no_matter(sweep: Sweep, how: str) -> None:
    """If a worker is killed, cancelled or requeued, its job is free, and another worker resumes it."""
    process = sweep.start()
    worker, folder = next(iter(sweep.training().items()))
    if how == "requeue":
        slurm("scontrol", "requeue", worker)
    else:
        slurm("scancel", f"--signal={how}", f"{worker}.0")
    sweep.held.unlink()
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert len(sweep.results()) == 6
    assert "resuming " in (folder / "train.log").read_text()


def test_a_worker_goes_on_after_its_time_limit(sweep: Sweep) -> None:
    process = sweep.start("jobs=1", "launcher.time=2", "launcher.signal=75")
    ((worker, folder),) = sweep.training(1).items()
    wait_until(lambda: slurm("squeue", "--noheader", "--format=%T", f"--jobs={worker}") == "PENDING")
    time.sleep(2)  # a node refuses to start a job again within the second in which it ended: "already killed"
    slurm("scontrol", "update", f"JobId={worker}", "StartTime=now")  # SLURM would let it wait for two minutes
    assert _status(folder)["status"] == "interrupted"
    sweep.held.unlink()
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "resuming " in (folder / "train.log").read_text()


def test_ctrl_c_leaves_no_worker(sweep: Sweep) -> None:
    process = sweep.start(LONG)
    found = sweep.training()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    wait_until(lambda: not slurm("squeue", "--noheader"))
    assert time.monotonic() - began < 15
    assert process.returncode == 130
    assert "0 of 6 jobs are complete. Resume with: python train.py -m data=digits" in err
    assert {_status(folder)["status"] for folder in found.values()} == {"interrupted"}


def test_the_sweep_says_so_when_all_workers_are_lost_and_the_same_command_goes_on(sweep: Sweep, tmp_path: Path) -> None:
    impatient = tmp_path / "impatient.py"  # SLURM says nothing of ended jobs here, for want of accounting
    train = PROJECT / "train.py"
    impatient.write_text(
        "import runpy, sys\nfrom mlplab.sweeps import slurm\nslurm.IDLE_S = 2.0\nslurm.LOST_S = 5.0\n"
        f"sys.argv[0] = {str(train)!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    process = sweep.start(script=str(impatient))
    for worker in sweep.training():
        slurm("scancel", "--signal=KILL", f"{worker}.0")
    out, err = process.communicate()
    assert process.returncode == 6, err
    assert "All workers on the cluster have ended. Logs: outputs/sweeps/six/.slurm" in err
    assert out.count("failed: lost with its worker on the cluster (outputs/sweeps/six/.slurm)") == 2
    process = sweep.start(where=(), hold=False)
    sweep.held.unlink()
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert len(sweep.results()) == 6


@pytest.mark.parametrize(
    ("overrides", "code", "says"),
    [
        (("launcher.partition=nowhere",), 2, "invalid partition specified: nowhere"),
        (("trainer.profiler=foo",), 2, "trainer: Lightning refuses these flags"),
    ],
)
def test_what_is_refused_is_said(sweep: Sweep, overrides: tuple[str, ...], code: int, says: str) -> None:
    process = sweep.start(*overrides, hold=False)
    _, err = process.communicate()
    assert process.returncode == code
    assert says in err
    assert "Traceback" not in err
