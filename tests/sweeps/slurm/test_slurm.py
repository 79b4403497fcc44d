"""Against a real SLURM, which `make test-slurm` starts for them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import slurm, start_again_now, wait_until
from waiting import PATIENCE_S

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif("MLPLAB_TEST_CLUSTER" not in os.environ, reason="needs a cluster of its own: make test-slurm"),
]


class Sweep:
    """app.py with jobs that last until they are let go, or as long as it is said."""

    def __init__(self, folder: Path, *overrides: str, program: str | Path = HERE / "app.py") -> None:
        self.folder = folder
        self.sweep_folder = folder / "sweep"
        with (folder / "printed").open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, program, "-m", "hydra/launcher=slurm", "hydra.launcher.mem_gb=1", *overrides],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
            )

    def job(self, index: int, starts: int = 1) -> str:
        """The id of a job, once it has been started that often."""
        wait_until(lambda: len(self._starts(index)) >= starts, f"start {starts} of job {index}")
        return self._starts(index)[-1]

    def _starts(self, index: int) -> list[str]:
        path = self.sweep_folder / f"index={index}" / "starts"
        return path.read_text().split() if path.exists() else []

    def let_go(self) -> None:
        (self.sweep_folder / "go").touch()

    def returns(self) -> list[tuple[str, str]]:
        """Status and value or error of each job, once all have ended."""
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the sweep does not end: {self.printed}\n{slurm('squeue', '--states=all')}")
        assert (self.folder / "returns.json").exists(), self.printed
        return [(status, value) for status, value in json.loads((self.folder / "returns.json").read_text())]

    @property
    def printed(self) -> str:
        return (self.folder / "printed").read_text()


@pytest.fixture(autouse=True)
def _empty_queue() -> Iterator[None]:
    yield
    slurm("scancel", "--me")
    wait_until(lambda: not slurm("squeue", "--noheader"), "an empty queue")


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    begun: list[Sweep] = []

    def begin(*overrides: str) -> Sweep:
        begun.append(Sweep(tmp_path, *overrides))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.wait()


def test_all_jobs_come_back_in_their_order(sweep: Callable[..., Sweep]) -> None:
    running = sweep("index=0,1,2,3,4,5")
    assert running.returns() == [("COMPLETED", str(index**2)) for index in range(6)]


def test_a_job_that_raises_is_one_that_failed(sweep: Callable[..., Sweep]) -> None:
    running = sweep("index=1,-1")
    assert running.returns() == [("COMPLETED", "1"), ("FAILED", "an index below zero")]


@pytest.mark.parametrize(
    ("step", "cause"), [("", "was cancelled"), (".0", "was killed by SIGKILL")], ids=["scancel ends it", "killed"]
)
def test_a_job_that_is_killed_is_named_and_the_others_end_well(
    sweep: Callable[..., Sweep], step: str, cause: str
) -> None:
    running = sweep("index=0,1,2,3,4,5", "seconds=30")
    job = running.job(1)
    slurm("scancel", "--signal=KILL", job + step)
    running.let_go()
    first, killed, *others = running.returns()
    assert [first, *others] == [("COMPLETED", str(index**2)) for index in (0, 2, 3, 4, 5)]
    assert killed[0] == "FAILED"
    assert cause in killed[1]
    assert Path(killed[1].rpartition(" ")[2]).exists()


def test_a_requeued_job_is_waited_for(sweep: Callable[..., Sweep]) -> None:
    running = sweep("index=0,1", "seconds=60")
    job = running.job(1)
    slurm("scontrol", "requeue", job)
    start_again_now(job)
    assert running.job(1, starts=2) == job
    running.let_go()
    assert running.returns() == [("COMPLETED", "0"), ("COMPLETED", "1")]


def test_a_job_that_is_asked_to_make_room_goes_back_into_the_queue(sweep: Callable[..., Sweep]) -> None:
    """SIGTERM while it counts as running, as in the grace time of a pre-emption."""
    running = sweep("index=0,1", "seconds=60")
    job = running.job(1)
    slurm("scancel", "--signal=TERM", job)
    start_again_now(job)
    running.job(1, starts=2)
    running.let_go()
    assert running.returns() == [("COMPLETED", "0"), ("COMPLETED", "1")]


def test_a_job_goes_on_after_its_time_limit(sweep: Callable[..., Sweep]) -> None:
    running = sweep("index=3", "seconds=100", "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=20")
    start_again_now(running.job(3))
    running.job(3, starts=2)  # SLURM may hold it back for two minutes all the same
    running.let_go()
    assert running.returns() == [("COMPLETED", "9")]


def test_a_stopped_sweep_leaves_no_job(sweep: Callable[..., Sweep]) -> None:
    running = sweep("index=0,1,2,3,4,5", f"seconds={2 * PATIENCE_S}")
    running.job(2)
    (running.sweep_folder / ".stopped").touch()
    returns = running.returns()
    wait_until(lambda: not slurm("squeue", "--noheader"), "an empty queue")
    assert [status for status, _ in returns] == ["FAILED"] * 6
    assert all("was stopped with the sweep" in error for _, error in returns)


def test_a_sweep_that_breaks_cancels_its_jobs(sweep: Callable[..., Sweep]) -> None:
    running = sweep("index=0,1", f"seconds={2 * PATIENCE_S}")
    running.job(1)
    time.sleep(2)  # a job may begin before sbatch has said so
    running.process.send_signal(signal.SIGINT)
    running.process.wait(PATIENCE_S)
    wait_until(lambda: not slurm("squeue", "--noheader"), "an empty queue")


def test_what_the_cluster_refuses_is_said(sweep: Callable[..., Sweep]) -> None:
    running = sweep("index=0,1", "hydra.launcher.partition=nowhere")
    running.process.wait(PATIENCE_S)
    assert "hydra/launcher=slurm:" in running.printed
    assert "invalid partition specified: nowhere" in running.printed
