"""What a process does about itself so that small networks train fast."""

import ctypes
import importlib
import os
import platform
from importlib.metadata import PackageNotFoundError
from typing import Any

# torchmetrics, which Lightning imports, imports these for metrics of pictures and sound, and to plot: more than half of
# the time that it takes to start.
NOT_NEEDED = ("scipy", "torchvision", "matplotlib")

# From malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 2**25  # bytes; older versions take no larger one


def import_lightning() -> None:
    """Import Lightning as where scipy, torchvision and matplotlib are not installed; they can be imported afterwards.

    For a program, not a notebook: what needs them in torchmetrics is then missing.
    """
    installed: Any = importlib.import_module("lightning_utilities.core.imports")
    real: dict[str, Any] = {name: getattr(installed, name, None) for name in ("find_spec", "_version")}

    def version(package: str) -> object:
        if package in NOT_NEEDED:
            raise PackageNotFoundError(package)
        return real["_version"](package)

    installed.find_spec = lambda name, *rest: None if name in NOT_NEEDED else real["find_spec"](name, *rest)
    installed._version = version
    try:
        import lightning.pytorch  # noqa: F401
    finally:
        for name, function in real.items():
            setattr(installed, name, function)
        installed.package_available.cache_clear()


def tune() -> None:
    """Settle threads, denormal numbers and memory for the whole process.

    One thread, unless OMP_NUM_THREADS says otherwise: with a second one an epoch is 1.5 to 1.8 times as fast on an
    idle machine, and 2 to 5 times as slow beside another process.

    Denormal numbers become zero: where a gradient stays zero, the moments of Adam decay to numbers below
    1e-38, with which some processors compute so slowly that an epoch takes 1.5 times as long.

    Memory that was freed is kept: glibc gives large blocks back to the system and asks for them again in every step.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, 2**30)
