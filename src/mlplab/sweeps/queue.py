"""The queue of a sweep: a file in its folder, from which workers on all machines take job after job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import Timeout

from mlplab.errors import ConfigError
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder
from mlplab.sweeps import job as job_file
from mlplab.sweeps import stop
from mlplab.sweeps.job import Job, State

JOBS = "jobs.jsonl"
SWEEP = "MLPLAB_SWEEP"  # in the environment of the process that preloads: the folder of the sweep
CLAIMS = ".claims"  # a lock for each job that a worker has, and one for those who look for the next

Choose = Callable[[Sequence[Job], Mapping[Path, State]], Job | None]
Claim = Any  # a lock that is given back at the end of a `with`, or by the system


@contextmanager
def opened(folder: Path, jobs: Sequence[Job], multirun: bytes) -> Iterator[list[Job]]:
    """Write down what is to be done, or join the process that has done so.

    `multirun` is what Hydra composed of the command, for multirun.yaml, which marks the folder as a sweep's.

    Raises:
        ConfigError: if another process is at work there on other jobs, or the folder is not a sweep's.
        CheckpointError: if it cannot be written to.
    """
    run_folder.refuse_others(folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(run_folder.locked(folder))
        except ConfigError:  # another process has it
            shared = {job.folder: job for job in job_file.read(folder / JOBS)}
            if any(job.folder not in shared for job in jobs):
                raise
            print("Another process is at work on this sweep: joining it.", flush=True)
            yield [shared[job.folder] for job in jobs]
            return
        run_folder.write(folder / "multirun.yaml", multirun)
        (folder / CLAIMS).mkdir(exist_ok=True)
        (folder / stop.MARK).unlink(missing_ok=True)
        own = [replace(job, earlier=job.sign_of_life()) for job in jobs]
        job_file.write(folder / JOBS, own)
        yield own


class Queue:
    """The jobs of a sweep's folder; `choose` decides what comes next, from the jobs and how each stands."""

    def __init__(self, folder: Path, choose: Choose) -> None:
        self.folder = folder
        self.choose = choose
        self._ended: dict[Path, State] = {}

    def take(self) -> tuple[Job, Claim] | None:
        """The next job, which nobody else gets until its claim is given back; None if there is none for now."""
        with self._lock("next", timeout=-1):
            jobs = job_file.read(self.folder / JOBS)
            states = {job.folder: self._state(job) for job in jobs}
            while (job := self.choose(jobs, states)) is not None:
                if (claim := self._claim(job)) is None:
                    states[job.folder] = "taken"
                elif (state := self._state(job)) == "open":
                    return job, claim
                else:  # it has ended since
                    claim.lock.release()
                    states[job.folder] = state
        return None

    def left(self) -> list[Job]:
        return [job for job in job_file.read(self.folder / JOBS) if self._state(job) == "open"]

    def is_over(self) -> bool:
        return not self.left()

    def is_taken(self) -> bool:
        """Is any worker or another process at work on a job?"""
        begun = [job for job in self.left() if self._path(job.folder.name).exists()]
        with self._lock("next", timeout=-1):
            claims = [self._claim(job) for job in begun]
        for claim in claims:
            if claim is not None:
                claim.lock.release()
        return None in claims

    def has_success(self) -> bool:
        """Has any job been completed since the sweep began?"""
        return "complete" in map(self._state, job_file.read(self.folder / JOBS))

    def _state(self, job: Job) -> State:
        state = self._ended.get(job.folder) or job.state()
        if state in ("complete", "failed"):
            self._ended[job.folder] = state
        return state

    def _claim(self, job: Job) -> Claim | None:
        """None if another worker has the job, or a run is still at work in its folder."""
        try:
            claim = self._lock(job.folder.name)
            if (job.folder / ".lock").exists():
                try:
                    atomic_write.lock(job.folder / ".lock").lock.release()
                except Timeout:
                    claim.lock.release()
                    return None
        except Timeout:
            return None
        return claim

    def _lock(self, name: str, timeout: float = 0) -> Claim:
        return atomic_write.lock(self._path(name), timeout)

    def _path(self, name: str) -> Path:
        return self.folder / CLAIMS / f"{name}.lock"
