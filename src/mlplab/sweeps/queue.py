"""The queue of a sweep: a file in its folder, from which workers on all machines take jobs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import Timeout

from mlplab.errors import ConfigError
from mlplab.runs import atomic_write, folder_lock
from mlplab.runs import folder as run_folder
from mlplab.sweeps import job as job_file
from mlplab.sweeps import stop
from mlplab.sweeps.job import Job, State

JOBS = "jobs.jsonl"
SWEEP = "MLPLAB_SWEEP"  # in the environment of the process that preloads: the folder of the sweep
CLAIMS = ".claims"  # a lock for each job that a worker has, and one for those who look for the next

More = Callable[[], bool]  # writes the next jobs into the file; False if there are none
Claim = Any  # a lock that is released at the end of a `with`, or by the system


@contextmanager
def opened(folder: Path, jobs: Sequence[Job], multirun: bytes) -> Iterator[list[Job]]:
    """Write the list of jobs, or join the process that has done so.

    `multirun` is the composed configuration of the command, for multirun.yaml, which marks the folder as a sweep's.

    Raises:
        ConfigError: if another process runs other jobs there, or the folder is not a sweep's.
        CheckpointError: if it cannot be written to.
    """
    with led(folder, multirun, lambda: _are_shared(folder, jobs)) as leads:
        if leads:
            job_file.write(folder / JOBS, [replace(job, earlier=job.sign_of_life()) for job in jobs])
        shared = {job.folder: job for job in job_file.read(folder / JOBS)}
        yield [shared[job.folder] for job in jobs]


def _are_shared(folder: Path, jobs: Sequence[Job]) -> bool:
    shared = {job.folder for job in job_file.read(folder / JOBS)}
    return all(job.folder in shared for job in jobs)


@contextmanager
def led(folder: Path, multirun: bytes, may_join: Callable[[], bool]) -> Iterator[bool]:
    """Lead a sweep, or join the process that does; yields whether this one leads.

    Raises:
        ConfigError: if another process uses the folder and `may_join` is false, or the folder is not a sweep's.
        CheckpointError: if it cannot be written to.
    """
    folder_lock.refuse_others(folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_lock.locked(folder))
        except ConfigError:  # another process has it
            if not may_join():
                raise
            print("Another process is running this sweep: joining it.", flush=True)
            yield False
            return
        run_folder.write(folder / "multirun.yaml", multirun)
        (folder / CLAIMS).mkdir(exist_ok=True)
        (folder / stop.MARK).unlink(missing_ok=True)
        yield True


class Queue:
    """The jobs of a sweep's folder; in a search `more` decides what comes next, once all of them have ended."""

    def __init__(self, folder: Path, more: More | None = None) -> None:
        self.folder = folder
        self.more = more
        self._ended: dict[Job, State] = {}

    def take(self) -> tuple[Job, Claim] | None:
        """Claim the longest open job, which no other worker gets until the claim is released; None if there is none."""
        with self._lock("next", timeout=-1):
            while True:
                left = self.left()
                for job in sorted(left, key=lambda job: -job.cost):
                    if (claim := self._claim(job)) is None:
                        continue
                    if self._state(job) == "open":
                        return job, claim
                    claim.lock.release()  # it has ended in the meantime
                if left or self.more is None or not self.more():
                    return None
                self._ended.clear()  # a folder may have been moved away

    def jobs(self) -> list[Job]:
        """The jobs written so far."""
        return job_file.read(self.folder / JOBS)

    def left(self) -> list[Job]:
        return [job for job in self.jobs() if self._state(job) == "open"]

    def is_over(self) -> bool:
        with self._lock("next", timeout=-1):
            return not self.left() and (self.more is None or not self.more())

    def is_taken(self) -> bool:
        """Tell whether a worker or another process has a job."""
        begun = [job for job in self.left() if self._path(job.folder.name).exists()]
        with self._lock("next", timeout=-1):
            claims = [self._claim(job) for job in begun]
        for claim in claims:
            if claim is not None:
                claim.lock.release()
        return None in claims

    def has_success(self) -> bool:
        """Tell whether any job has completed."""
        return "complete" in map(self._state, self.jobs())

    def _state(self, job: Job) -> State:
        state = self._ended.get(job) or job.state()
        if state in ("complete", "failed"):
            self._ended[job] = state
        return state

    def _claim(self, job: Job) -> Claim | None:
        """Claim a job; None if another worker has it, or a run still uses its folder."""
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
