"""The display of a sweep: a line for each job that ends, and in a terminal the running jobs."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlplab.runs.result import Status, outcome, read_result
from mlplab.sweeps.job import Job, State

REFRESH_S = 0.5


@contextmanager
def shown(jobs: Callable[[], Sequence[Job]], total: Callable[[], str] | None = None) -> Iterator[None]:
    """Watch the folders of the jobs until they have ended, whichever worker trains them.

    Args:
        jobs: returns the jobs; called repeatedly, because there may be more later.
        total: returns the line below the running jobs; None for the number of ended jobs and the time left.
    """
    display = _Display(jobs, total)
    thread = threading.Thread(target=display.follow, name="display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        display.is_over.set()
        thread.join()


class _Display:
    def __init__(self, jobs: Callable[[], Sequence[Job]], total: Callable[[], str] | None) -> None:
        self.jobs = jobs
        self.total = total
        self.seen: list[Job] = []
        self.waiting: list[Job] = []  # that have not ended
        self.first: tuple[float, float] | None = None  # time of the first progress, and the work left then
        self.is_over = threading.Event()

    def follow(self) -> None:
        console = Console(stderr=True)
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while not self.is_over.wait(REFRESH_S):
                self._tell(console)
                if console.is_terminal:
                    live.update(self._picture(), refresh=True)
        self._tell(console, at_the_end=True)

    def _tell(self, console: Console, at_the_end: bool = False) -> None:
        """Print a line for each job that has ended since the last call; another worker may take an interrupted one."""
        new = [job for job in self.jobs() if job not in self.seen]
        self.seen += new
        self.waiting += new
        for job in list(self.waiting):
            if job.sign_of_life() == job.earlier:
                continue
            state, status = job.state(), job.status()  # in this order: the status is written after the result
            is_interrupted = at_the_end and status is not None and status.status == "interrupted"
            if status is None or (state == "open" and not is_interrupted):
                continue
            self.waiting.remove(job)
            console.print(Text(f"[{self._count()}] {job.label}: {_outcome(job, state, status)}"), soft_wrap=True)

    def _count(self) -> str:
        ended, all_ = len(self.seen) - len(self.waiting), len(self.seen)
        return str(ended) if self.total is not None else f"{ended:>{len(str(all_))}}/{all_}"

    def _picture(self) -> Group:
        table = Table.grid(padding=(0, 1))
        left = 0.0
        for job in self.waiting:
            status = job.status() if job.sign_of_life() != job.earlier else None
            done = (status and status.done) or 0.0
            left += job.cost * (1 - done)
            if status is not None and status.status == "running" and len(table.rows) < 64:
                epoch = f"epoch {status.epoch}/{job.epochs}" if status.epoch else "starting"
                table.add_row(Text(job.label, overflow="ellipsis"), _bar(done), epoch)
        if self.total is not None:
            return Group(table, Text(self.total()))
        ended = f"{len(self.seen) - len(self.waiting)} of {len(self.seen)} jobs"
        cost = sum(job.cost for job in self.seen)
        table.add_row(Text(ended), _bar(1 - left / cost), self._time_left(left, cost))
        return Group(table)

    def _time_left(self, left: float, cost: float) -> str:
        """Estimate the time left from the pace since the first progress, which excludes importing packages."""
        now = time.monotonic()
        if left == cost:
            return ""
        if self.first is None:
            self.first = now, left
        since, then = self.first
        return _time((now - since) * left / (then - left)) if then - left > 0.01 * cost else ""


def _outcome(job: Job, state: State, status: Status) -> str:
    result = read_result(job.folder) if state == "complete" else None
    pause = job.pause() if job.until is not None else None
    if result is None and pause is not None and len(pause.history) >= (job.until or 0):
        epochs = len(pause.history)
        best = max(epoch.get("val/acc", 0) for epoch in pause.history)
        return f"val {best:.2%} after {epochs} epoch{'s' * (epochs > 1)}"
    if result is None:
        return outcome(status.status, status.reason or "")
    splits = [split for split in ("val", "test") if f"{split}/acc" in result.metrics]
    accuracies = ", ".join(f"{split} {result.metrics[f'{split}/acc']:.2%}" for split in splits)
    return f"{accuracies}, whole job {result.total_s:.1f} s"


def _bar(done: float) -> ProgressBar:
    """Draw a bar; its rest is in a grey that is visible on black and on white."""
    return ProgressBar(1, done, width=20, style="bright_black")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}") + " left"
