"""Process-wide settings: imports, threads, denormal numbers, memory."""

import ctypes
import importlib
import importlib.util
import inspect
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
