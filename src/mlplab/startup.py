"""Process-wide settings (imports, threads, denormal numbers, memory), and signals and forks, which Windows lacks.

No other module uses functions that a system may lack (ruff: banned-api); on such a system, lists of signals are empty.
"""

import _thread
import ctypes
import gc
import importlib
import importlib.util
import inspect
import logging
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# From malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Environment variables of torchrun, SLURM and others for processes that share a run, of which only the first writes
# anything. Lightning reads them when it is imported, but here each process has its own run.
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
LARGEST_MMAP_THRESHOLD = 2**25  # bytes; older versions accept no larger value


def import_torch() -> None:
    """Import torch, which predictions need, and exempt its objects from garbage collection.

    Imports leave no garbage, and collections, the last one at the end of the process, take 0.6 s on an AMD EPYC core:
    `python scripts/predict.py RUN FILE` takes 2.0 s with this function, and 2.6 s without.
    """
    if "torch" in sys.modules:
        return
    was_enabled = gc.isenabled()
    gc.disable()
    import torch  # noqa: F401  # it stays imported

    gc.freeze()
    if was_enabled:
        gc.enable()


def import_lightning() -> None:
    """Import torch and Lightning without the parts that Lightning 2.6 barely uses; they can be imported afterwards.

    `python train.py data=digits trainer.max_epochs=20` takes 4.7 s of an AMD EPYC core with it, and 7.1 s without. All
    three measures are needed: without any one of them, it takes 6.1 to 7.1 s.

    For programs, not for notebooks: afterwards Lightning does not recognise a network compiled with torch.compile.
    """
    for name in RANKS:
        os.environ.pop(name, None)
    import torch.optim

    with (
        suppress(ImportError, AttributeError),
        _not_run("torch._dynamo") as dynamo,
        _not_run("torchmetrics") as metrics,
    ):
        # The compiler, which Lightning uses only to test whether a network is compiled, and to exclude functions.
        dynamo.OptimizedModule = type("OptimizedModule", (), {})
        dynamo.disable = lambda function, *_, **__: function
        # All of torchmetrics, which imports SciPy and torchvision, which imports the compiler.
        metrics._logger = logging.getLogger("torchmetrics")
        importlib.import_module("torchmetrics.utilities")  # before torchmetrics.metric, because of a circular import
        from torchmetrics.collections import MetricCollection
        from torchmetrics.metric import Metric

        metrics.Metric, metrics.MetricCollection = Metric, MetricCollection
        import lightning.pytorch
    import lightning.pytorch  # noqa: F401  # a no-op, unless another version needed more

    # When first called, these import the compiler, only to be excluded from compilation.
    for method in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        setattr(torch.optim.Optimizer, method, inspect.unwrap(getattr(torch.optim.Optimizer, method)))


@contextmanager
def _not_run(package: str) -> Iterator[Any]:
    """Allow imports of a package's modules within the context without running its `__init__.py`."""
    spec, before = importlib.util.find_spec(package), sys.modules.get(package)
    if spec is None:
        raise ModuleNotFoundError(package)
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        yield sys.modules[package]
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before


def tune() -> None:
    """Configure threads, denormal numbers and memory for the whole process.

    One thread, unless OMP_NUM_THREADS says otherwise: with a second one an epoch is 1.5 to 1.8 times as fast on an
    idle machine, and 2 to 5 times as slow beside another process.

    Denormal numbers become zero: where a gradient stays zero, Adam's moments decay to numbers below 1e-38, which some
    processors handle so slowly that an epoch takes 1.5 times as long.

    Freed memory is kept: otherwise glibc returns large blocks to the system and requests them again in every step.
    """
    import torch

    # Called even if the number is already set: in a forked process the first call recreates torch's thread pool, and
    # two autograd threads that do so at the same time abort ("Invalid thread pool!").
    torch.set_num_threads(torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1)
    torch.set_flush_denormal(True)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, 2**30)


def _known(*names: str) -> list[signal.Signals]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


HANGUP = _known("SIGHUP")  # the terminal is closed
REQUEUE = _known("SIGUSR1")  # of SLURM, with --signal=USR1@60
# A terminal or SLURM sends these to all processes of a sweep, but only the leading one should handle them.
FOR_THE_LEADER = _known("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2")

_CAN_FORK = hasattr(os, "fork")
# Systems on which a process that has imported torch can be forked: Apple's libraries do not support it.
START_METHOD = "forkserver" if _CAN_FORK and sys.platform == "linux" else "spawn"


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask a process to save and end."""
    is_heard = [number for number in HANGUP if signal.getsignal(number) is not signal.SIG_IGN]  # as with nohup
    return [signal.SIGINT, signal.SIGTERM, *is_heard]


def end_process(pid: int, at_once: bool = False) -> None:
    """Ask a process to save and end, or kill it, which Windows always does; ignore a process that no longer exists."""
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL if at_once and _CAN_FORK else signal.SIGTERM)


def end_this_process() -> None:
    """Send SIGTERM to the main thread, whichever thread calls."""
    if _CAN_FORK:
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists; on Windows, where asking would end it, assume so."""
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
    """Return the number of cores that this process may use; a container may be limited to a fraction."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()  # cgroup v2: "200000 100000", "max 100000"
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):
        return allowed


def free_memory() -> int | None:
    """Return the bytes of memory that are free for this process; None where the system does not say."""
    free = []
    with suppress(OSError, ValueError):
        free.append(1024 * _number("/proc/meminfo", "MemAvailable:"))
    with suppress(OSError, ValueError):  # limit of a container; its cached files make way
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        free.append(limit - _number("/sys/fs/cgroup/memory.stat", "anon"))
    return min(free, default=None)


def _number(path: str, name: str) -> int:
    """Return the number after a name in a file of the system; raises ValueError if there is none."""
    words = Path(path).read_text().split()
    return int(words[words.index(name) + 1])
