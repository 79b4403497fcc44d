"""What a run is trained on, as its result says it."""

import os
import platform
from pathlib import Path

import torch


def described(device: torch.device) -> dict[str, str | int]:
    """Name and type; of a CPU the threads that compute, too, and how many cores there are."""
    if device.type == "cuda":
        return {"name": torch.cuda.get_device_name(device), "type": "cuda"}
    cores = {"threads": torch.get_num_threads(), "cores": os.cpu_count() or 1} if device.type == "cpu" else {}
    return {"name": processor(), "type": device.type, **cores}


def processor() -> str:
    """The model as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
