"""Ctrl-C, SIGTERM and a closed terminal stop a sweep: its jobs save and end, wherever they run, and no other starts."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mlplab import startup
from mlplab.runs import atomic_write

GRACE_S = 8.0  # for a job to save
MARK = ".stopped"  # in the folder of the sweep, where workers on other machines see it; the next sweep removes it


@dataclass(frozen=True)
class Stop:
    code: int  # what the sweep exits with
    reason: str = ""
    at_once: bool = False

    @property
    def grace_s(self) -> float:
        return 0.0 if self.at_once else GRACE_S


def ask(folder: Path, stop: Stop) -> None:
    """Ask all workers of a sweep to stop."""
    atomic_write.write(folder / MARK, json.dumps(asdict(stop)).encode(), sync=False)


def asked(folder: Path) -> Stop | None:
    """Return the stop request to the workers of a sweep; None if there is none."""
    content = atomic_write.read(folder / MARK, 2**16)
    try:
        return None if content is None else Stop(**json.loads(content))
    except (ValueError, TypeError):  # the file was not written by `ask`
        return Stop(128 + signal.SIGTERM)


def pass_on(folder: Path, number: int, is_first: bool) -> None:
    """Ask all workers of a sweep to stop after a signal, and say so; a second Ctrl-C does not wait for them."""
    at_once = number == signal.SIGINT and not is_first  # systems may repeat other signals
    ask(folder, Stop(128 + number, at_once=at_once))
    with suppress(OSError):  # of a terminal that has been closed
        os.write(2, b"\nStopping at once.\n" if at_once else b"\nStopping the jobs ...\n")


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect the signals that would end this process."""
    came: list[int] = []
    collect = lambda number, frame: came.append(number)  # noqa: E731
    before = {number: signal.signal(number, collect) for number in startup.ending_signals()}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
