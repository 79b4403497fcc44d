"""Process-wide settings (imports, threads, denormal numbers, memory), and signals and forks, which Windows lacks.

No other module names what a system may lack (ruff: banned-api); a list of signals is empty there.
"""

import _thread
import ctypes
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
# Left in the environment by torchrun, SLURM and others for processes that share a run, of which only the first writes
# anything. Lightning looks at them when it is imported; here each process has a run of its own.
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
LARGEST_MMAP_THRESHOLD = 2**25  # bytes; older versions take no larger one


def import_lightning() -> None:
    """Import torch and Lightning without the parts that Lightning 2.6 barely uses; they can be imported afterwards.

    `python train.py data=digits trainer.max_epochs=20` takes 4.7 s of an AMD EPYC core with it, 7.1 s without. The
    three measures belong together: without any one of them, 6.1 to 7.1 s are taken.

    For a program, not a notebook: Lightning does not know a network that torch.compile made.
    """
    for name in RANKS:
        os.environ.pop(name, None)
    import torch.optim

    with (
        suppress(ImportError, AttributeError),
        _not_run("torch._dynamo") as dynamo,
        _not_run("torchmetrics") as metrics,
    ):
        # The compiler, which Lightning asks whether a network is compiled, and not to compile something.
        dynamo.OptimizedModule = type("OptimizedModule", (), {})
        dynamo.disable = lambda function, *_, **__: function
        # All its metrics, for which it imports SciPy and torchvision, which imports the compiler.
        metrics._logger = logging.getLogger("torchmetrics")
        importlib.import_module("torchmetrics.utilities")  # before torchmetrics.metric: they import each other
        from torchmetrics.collections import MetricCollection
        from torchmetrics.metric import Metric

        metrics.Metric, metrics.MetricCollection = Metric, MetricCollection
        import lightning.pytorch
    import lightning.pytorch  # noqa: F401  # a no-op, unless another version needed more

    # When first called, these import the compiler, to have it not compile them.
    for method in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        setattr(torch.optim.Optimizer, method, inspect.unwrap(getattr(torch.optim.Optimizer, method)))


@contextmanager
def _not_run(package: str) -> Iterator[Any]:
    """Let the modules of a package be imported within while its `__init__.py` has not been run."""
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
    """Settle threads, denormal numbers and memory for the whole process.

    One thread, unless OMP_NUM_THREADS says otherwise: with a second one an epoch is 1.5 to 1.8 times as fast on an
    idle machine, and 2 to 5 times as slow beside another process.

    Denormal numbers become zero: where a gradient stays zero, the moments of Adam decay to numbers below
    1e-38, with which some processors compute so slowly that an epoch takes 1.5 times as long.

    Memory that was freed is kept: glibc gives large blocks back to the system and asks for them again in every step.
    """
    import torch

    # Said even where it is so: in a copy of a process (fork) the first call makes torch's pool of threads anew, and two
    # threads of autograd that come to do it at once abort ("Invalid thread pool!").
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
# A terminal or SLURM sends them to all processes of a sweep, and they are meant for the one that leads.
FOR_THE_LEADER = _known("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2")

_CAN_FORK = hasattr(os, "fork")
# Where a process that has imported torch can be forked: Apple's libraries do not survive it.
START_METHOD = "forkserver" if _CAN_FORK and sys.platform == "linux" else "spawn"


def ending_signals() -> list[signal.Signals]:
    """The signals that ask a process to save and to end."""
    is_heard = [number for number in HANGUP if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup leaves it
    return [signal.SIGINT, signal.SIGTERM, *is_heard]


def end_process(pid: int, at_once: bool = False) -> None:
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
