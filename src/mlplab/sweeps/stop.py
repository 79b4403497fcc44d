"""Ctrl-C, SIGTERM and a closed terminal in a sweep: its jobs save and end, wherever they run, and no other begins."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlplab import system
from mlplab.runs import atomic_write

PATIENCE_S = 8.0  # for a job, to save what it has
LOOK_S = 0.3
# In the folder of the sweep: the processes that run jobs look for it, on other machines too. The next sweep removes it.
MARK = ".stopped"


class Stopped(BaseException):
    """Raised out of the launcher when the last job that ran has ended: it would go through all that have not begun."""


class Stopping:
    """What has been asked of a sweep while it runs.

    Args:
        folder: of the sweep.
        are_running: tells whether any of its jobs still runs.
    """

    def __init__(self, folder: Path, are_running: Callable[[], bool]) -> None:
        self.mark = folder / MARK
        self.are_running = are_running
        self.signal: int | None = None
        self._since = 0.0
        self._launching = False

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Signals are noticed within, and do not interrupt the launcher while a job that it waits for runs."""
        self.mark.unlink(missing_ok=True)
        handlers = {**dict.fromkeys(system.ending(), self._stop), **dict.fromkeys(system.ALARM, self._look)}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            self._launching = True
            yield
            self._launching = False
        except Stopped:
            pass
        finally:
            self._launching = False
            system.ring(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        again = self.signal is not None and number == signal.SIGINT  # an impatient system is not a person
        if self.signal is None:
            self._since = time.monotonic()
            system.ring(LOOK_S)
        self.signal = number
        self.mark.write_text("at once" if again else "")
        with suppress(OSError):  # of a terminal that has been closed
            os.write(2, b"\nStopping at once.\n" if again else b"\nStopping the jobs ...\n")

    def _look(self, number: int, frame: object) -> None:
        is_over = not self.are_running() or time.monotonic() - self._since > PATIENCE_S + 1
        if self._launching and is_over:
            raise Stopped  # and again, should Python have swallowed it, as it does in a destructor


def patience(sweep_folder: Path) -> float | None:
    """The seconds that a job has to end; None where nobody asked it to."""
    asked = atomic_write.read(sweep_folder / MARK, 100)
    return None if asked is None else 0.0 if asked else PATIENCE_S
