"""What a run is trained on, as its result says it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}  # flags of Intel, of Intel and AMD, of ARM
_INSTRUCTIONS = ("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # variables for them


def described(device: torch.device) -> dict[str, str | int]:
    """Name and type; of a CPU the threads that compute, too, and how many cores there are."""
    if device.type == "cuda":
        return {"name": torch.cuda.get_device_name(device), "type": "cuda"}
    cores = {"threads": torch.get_num_threads(), "cores": os.cpu_count() or 1} if device.type == "cpu" else {}
    return {"name": processor(), "type": device.type, **cores}


def arithmetic(device: torch.device, precision: str) -> dict[str, str]:
    """What decides the last bits of weights beside the configuration of the run, by what a person calls it."""
    found = {"torch": version("torch"), "precision": precision, "device": str(described(device)["name"])}
    if device.type == "cpu":
        forced = [f"{name}={os.environ[name]}" for name in _INSTRUCTIONS if name in os.environ]
        bfloat16 = sorted(_flags() & BFLOAT16) if "bf16" in precision else []
        found["instructions"] = " ".join([torch.backends.cpu.get_cpu_capability(), *bfloat16, *forced])
        found["threads"] = str(torch.get_num_threads())
    return found


def has_bfloat16(accelerator: str) -> bool:
    """Does what trains multiply bfloat16 in hardware? Elsewhere it is several times slower than float32."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return False
    return bool(_flags() & BFLOAT16)


def _flags() -> set[str]:
    """Of the processor, where Linux tells them."""
    return {flag for line in _cpuinfo() if line.startswith(("flags", "Features")) for flag in line.split()}


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def processor() -> str:
    """The model as the system calls it."""
    names = (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
