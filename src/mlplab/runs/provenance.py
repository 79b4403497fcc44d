"""What a result was made with: versions of the packages, and a digest of this one's own code."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def versions() -> dict[str, str]:
    """Of mlplab, torch and lightning; "code" changes with any line of mlplab."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return {package: version(package) for package in ("mlplab", "torch", "lightning")} | {"code": digest[:12]}


def changed(before: object, now: Mapping[str, str] | None = None) -> str:
    """`torch 2.14.0 (now 2.15.0), ...`: what differs from versions that were noted; empty if nothing does."""
    if not isinstance(before, dict):
        return ""
    now = versions() if now is None else now
    return ", ".join(
        f"{name} {before[name]} (now {now[name]})" for name in now if before.get(name, now[name]) != now[name]
    )
