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


def has_bfloat16(accelerator: str) -> bool:
    """Does what trains multiply bfloat16 in hardware? Elsewhere it is several times slower than float32."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    known = {"amx_bf16", "avx512_bf16", "bf16"}  # of Intel, of Intel and AMD, of ARM
    return any(known & set(line.split()) for line in lines if line.startswith(("flags", "Features")))


def processor() -> str:
    """The model as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
