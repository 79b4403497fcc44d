"""What a process does about itself so that small networks train fast."""

import atexit
import ctypes
import gc
import importlib
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from types import ModuleType
from typing import Any

# torchmetrics, which Lightning imports, imports these for metrics of pictures and sound, and to plot: more than half of
# the time that it takes to start.
NOT_NEEDED = ("scipy", "torchvision", "matplotlib")

# From malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 2**25  # bytes; older versions take no larger one


def import_lightning() -> None:
    """Import Lightning as where scipy, torchvision and matplotlib are not installed; they can be imported afterwards.

    Without torch's compiler of Python, torch._dynamo, too, which takes a second: the step is compiled without it.
    For a program, not a notebook: what needs them in torchmetrics is then missing, and a network that torch.compile
    made is not known to Lightning as one.
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
        with _without_dynamo():
            import lightning.pytorch  # noqa: F401
    finally:
        for name, function in real.items():
            setattr(installed, name, function)
        installed.package_available.cache_clear()


@contextmanager
def _without_dynamo() -> Iterator[None]:
    """For the import of what wants to know a compiled network when it sees one, and functions not to be compiled."""
    name = "torch._dynamo"
    if name in sys.modules:
        yield
        return
    import torch.optim

    in_its_place: Any = ModuleType(name)
    in_its_place.OptimizedModule = type("OptimizedModule", (), {})
    in_its_place.disable = _undisturbed

    def anything_else(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if sys.modules.get(name) is in_its_place:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    in_its_place.__getattr__ = anything_else
    sys.modules[name] = in_its_place
    try:
        yield
    finally:
        if sys.modules.get(name) is in_its_place:
            del sys.modules[name]
    for method in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):  # first called, they would ask it
        function = getattr(getattr(torch.optim.Optimizer, method), "__wrapped__", None)
        if function is not None:
            function.__dynamo_disable = function


def _undisturbed(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """What is a decorator with and without arguments leaves a function as it is."""
    return _undisturbed if function is None else function


def keep_imports() -> None:
    """Spare the garbage collector what has been imported: 250,000 objects, to look through which takes it 0.1 s.

    For a program, not a notebook: whatever else there is by now stays too.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)  # or libraries complain that not all of theirs is freed at the end


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
