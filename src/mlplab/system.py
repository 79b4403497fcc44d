"""Signals and forks, which not every system has. No other module names them (ruff: banned-api).

Windows has none of it: a list of signals is empty there.
"""

import _thread
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path


def _known(*names: str) -> list[signal.Signals]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


HANGUP = _known("SIGHUP")  # the terminal is closed
REQUEUE = _known("SIGUSR1")  # of SLURM, with --signal=USR1@60
# A terminal or SLURM sends them to all processes of a sweep, and they are meant for the one that leads.
FOR_THE_LEADER = _known("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2")

_CAN_FORK = hasattr(os, "fork")
# Where a process that has imported torch can be forked: Apple's libraries do not survive it.
START_METHOD = "forkserver" if _CAN_FORK and sys.platform == "linux" else "spawn"


def ending() -> list[signal.Signals]:
    """The signals that ask a process to save and to end."""
    is_heard = [number for number in HANGUP if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup leaves it
    return [signal.SIGINT, signal.SIGTERM, *is_heard]


def end(pid: int, at_once: bool = False) -> None:
    """Ask a process to save and to end, or kill it, as Windows does in any case; one that is gone hears nothing."""
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL if at_once and _CAN_FORK else signal.SIGTERM)


def end_this_process() -> None:
    """Let the main thread handle SIGTERM, whichever thread calls."""
    if _CAN_FORK:
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)


def is_alive(pid: int) -> bool:
    """Is there a process of this number? Where asking would end it, as on Windows, it is believed to be there."""
    if not _CAN_FORK:
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def cores() -> int:
    """The number of cores that this process may use; a container may have a share of them."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()  # cgroup v2: "200000 100000", "max 100000"
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):
        return allowed
