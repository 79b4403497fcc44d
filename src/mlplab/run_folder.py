"""The folder of a run: one run each, its best weights, and result.json, there only when the run is complete."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from mlplab.errors import CheckpointError, ConfigError


def reserve(folder: Path) -> None:
    """Make a folder, and refuse one that is used already.

    Raises:
        ConfigError: if a run is in it.
        CheckpointError: if it cannot be made.
    """
    if _is_helper():
        return
    if _checkpoints(folder).exists() or (folder / "result.json").exists():
        raise _used(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be made: {error.strerror}. Choose another hydra.run.dir.") from error


def claim(folder: Path) -> None:
    """Of two runs that start in one folder at the same time, one makes the folder of checkpoints.

    Raises:
        ConfigError: for the other one.
    """
    if _is_helper():
        return
    try:
        _checkpoints(folder).mkdir(parents=True)
    except FileExistsError:
        raise _used(folder) from None


def checkpoint(folder: Path, name: str) -> Path:
    """`name` is "best" or "last"."""
    return _checkpoints(folder) / f"{name}.ckpt"


def choose_best(folder: Path) -> None:
    """Where nothing was validated, the last weights are the best."""
    best, last = checkpoint(folder, "best"), checkpoint(folder, "last")
    if not best.exists() and last.exists():
        shutil.copy(last, best)


def best_weights(folder: Path) -> Path | None:
    """The best checkpoint, or None where none was wanted."""
    best = checkpoint(folder, "best")
    return best if best.exists() else None


def write_result(folder: Path, result: Mapping[str, object]) -> None:
    """Write result.json, whole or not at all."""
    partial = folder / "result.json.tmp"
    partial.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(folder / "result.json")


def short(folder: Path) -> str:
    """As a person would type it."""
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"


def _is_helper() -> bool:
    """Is this one of the further processes of a distributed run, which share the folder of the first?"""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _used(folder: Path) -> ConfigError:
    run = "a run" if (folder / "result.json").exists() else "an unfinished run"
    return ConfigError(f"{short(folder)}: holds {run} already. Choose another hydra.run.dir, or leave it out.")
