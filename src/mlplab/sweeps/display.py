"""The display of a sweep: a line for each job that ends, and on a terminal the jobs that are running."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlplab.runs.result import Status, outcome, read_result
from mlplab.sweeps.job import Job

REFRESH_S = 0.5


@contextmanager
def shown(jobs: Sequence[Job]) -> Iterator[None]:
    """Look at the folders of the jobs until they have ended, whoever trains them."""
    display = _Display(jobs)
    thread = threading.Thread(target=display.follow, name="display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        display.is_over.set()
        thread.join()


class _Display:
    def __init__(self, jobs: Sequence[Job]) -> None:
        self.waiting = list(jobs)  # that have not ended
        self.total = len(jobs)
        self.cost = sum(job.cost for job in jobs)
        self.first: tuple[float, float] | None = None  # when something had been done, and what was left then
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
        """Print a line for each job that has ended since the last time; another worker may take an interrupted one."""
        for job in list(self.waiting):
            if job.sign_of_life() == job.earlier:
                continue
            status = job.status()
            if status is None or status.status in ("running", *([] if at_the_end else ["interrupted"])):
                continue
            self.waiting.remove(job)
            count = f"[{self.total - len(self.waiting):>{len(str(self.total))}}/{self.total}]"
            console.print(Text(f"{count} {job.label}: {_outcome(job, status)}"), soft_wrap=True)

    def _picture(self) -> Table:
        table = Table.grid(padding=(0, 1))
        left = 0.0
        for job in self.waiting:
            status = job.status() if job.sign_of_life() != job.earlier else None
            done = (status and status.done) or 0.0
            left += job.cost * (1 - done)
            if status is not None and status.status == "running" and len(table.rows) < 64:
                epoch = f"epoch {status.epoch}/{job.epochs}" if status.epoch else "starting"
                table.add_row(Text(job.label, overflow="ellipsis"), _bar(done), epoch)
        ended = f"{self.total - len(self.waiting)} of {self.total} jobs"
        table.add_row(Text(ended), _bar(1 - left / self.cost), self._time_left(left))
        return table

    def _time_left(self, left: float) -> str:
        """Tell the time left, at the pace since something was first done: before that Python imports its packages."""
        now = time.monotonic()
        if left == self.cost:
            return ""
        if self.first is None:
            self.first = now, left
        since, then = self.first
        return _time((now - since) * left / (then - left)) if then - left > 0.01 * self.cost else ""


def _outcome(job: Job, status: Status) -> str:
    result = read_result(job.folder) if status.status == "completed" else None
    if result is None:
        return outcome(status.status, status.reason or "")
    splits = [split for split in ("val", "test") if f"{split}/acc" in result.metrics]
    accuracies = ", ".join(f"{split} {result.metrics[f'{split}/acc']:.2%}" for split in splits)
    return f"{accuracies}, {result.total_s:.1f} s in all"


def _bar(done: float) -> ProgressBar:
    """Draw what is left in a grey that can be seen on black and on white."""
    return ProgressBar(1, done, width=20, style="bright_black")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}") + " left"
