"""The origin of a result: versions, a digest of the code, the device, and settings that affect rounding."""

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}  # flags of Intel, of Intel and AMD, of ARM
INSTRUCTIONS = ("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # variables


@cache
def versions() -> dict[str, str]:
    """Return the versions of mlplab, torch and lightning; "code" is a digest that changes with any line of mlplab."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return {package: version(package) for package in ("mlplab", "torch", "lightning")} | {"code": digest[:12]}


def changed(before: Mapping[str, str], now: Mapping[str, str] | None = None) -> str:
    """List differences from recorded versions, as `torch 2.14.0 (now 2.15.0), ...`; empty if there are none."""
    now = versions() if now is None else now
    return ", ".join(
        f"{name} {before[name]} (now {now[name]})" for name in now if before.get(name, now[name]) != now[name]
    )


def device(used: "torch.device") -> dict[str, str | int]:
    """Describe a device by name and type; a CPU also by the number of threads in use and of cores."""
    import torch

    if used.type == "cuda":
        return {"name": torch.cuda.get_device_name(used), "type": "cuda"}
    cores = {"threads": torch.get_num_threads(), "cores": os.cpu_count() or 1} if used.type == "cpu" else {}
    return {"name": processor(), "type": used.type, **cores}


def arithmetic(used: "torch.device", precision: str) -> dict[str, str]:
    """Describe what affects the last bits of the weights besides the configuration."""
    import torch

    found = {"torch": version("torch"), "precision": precision, "device": str(device(used)["name"])}
    if used.type == "cpu":
        forced = [f"{name}={os.environ[name]}" for name in INSTRUCTIONS if name in os.environ]
        bfloat16 = sorted(_flags() & BFLOAT16) if "bf16" in precision else []
        found["instructions"] = " ".join([torch.backends.cpu.get_cpu_capability(), *bfloat16, *forced])
        found["threads"] = str(torch.get_num_threads())
    return found


def has_bfloat16(accelerator: str) -> bool:
    """Tell whether the hardware multiplies bfloat16; otherwise it is several times slower than float32."""
    import torch

    if accelerator != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return False
    return bool(_flags() & BFLOAT16)


def processor() -> str:
    """Return the system's name of the processor model."""
    names = (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _flags() -> set[str]:
    """Return the processor's feature flags, on Linux only."""
    return {flag for line in _cpuinfo() if line.startswith(("flags", "Features")) for flag in line.split()}


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
