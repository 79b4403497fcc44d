"""What not every system has: most signals, their masks and timers, forks. No other module names it (ruff: banned-api).

Windows has none of it. A list of signals is then empty, and there are no sweeps.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


def _known(*names: str) -> list[signal.Signals]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


HANGUP = _known("SIGHUP")  # the terminal is closed
REQUEUE = _known("SIGUSR1")  # of SLURM, with --signal=USR1@60
ALARM = _known("SIGALRM")
KILL = _known("SIGKILL")
# SLURM, or a terminal that is closed, sends them to all processes, and they are meant for the one that waits.
NOT_FOR_ALL = _known("SIGTERM", "SIGUSR2", "SIGHUP")

CAN_FORK = hasattr(os, "fork")
# Where a process that has imported torch can be forked: Apple's libraries do not survive it.
START_METHOD = "forkserver" if CAN_FORK and sys.platform == "linux" else "spawn"


def ending() -> list[signal.Signals]:
    """The signals that ask a process to save and to end."""
    is_heard = [number for number in HANGUP if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup leaves it
    return [signal.SIGINT, signal.SIGTERM, *is_heard]


def ring(seconds: float) -> None:
    """Send ALARM after so many seconds, and again; 0 stops it."""
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


@contextmanager
def blocked(numbers: Iterable[int]) -> Iterator[None]:
    """Signals wait within; a process that is started within never gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock(number: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])


send = os.kill  # only where there are signals: Windows ends the process, whatever the number


def is_alive(pid: int) -> bool:
    """Is there a process of this number? Where asking would end it, as on Windows, it is believed to be there."""
    if not CAN_FORK:
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def end_forkserver() -> None:
    """The memory of what it has imported is free until it is needed again."""
    from multiprocessing import forkserver

    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # in Python 3.11 to 3.13; there is no public way
