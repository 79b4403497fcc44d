"""Writes the winner of a search as a recipe for conf/experiment."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mlplab.config.fields import nested
from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import folder as run_folder
from mlplab.search.answer import Answer, Finalist, percent

GROUPS = ("data", "regularization", "optimizer", "scheduler", "show", "launcher", "experiment", "ablation")


def write(answer: Answer, path: Path) -> None:
    """Write the winner, with its measured accuracy in the header.

    Raises:
        ConfigError: if the file exists, or there is no winner yet.
        CheckpointError: if it cannot be written.
    """
    best = answer.winner
    if best is None or not best.quoted:
        raise ConfigError(f"{run_folder.short(answer.folder)}: the search has no winner yet. Let it finish.")
    if os.path.lexists(path):
        raise ConfigError(f"{path}: already exists. Choose another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(answer, best, path.stem), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error


def text(answer: Answer, best: Finalist, name: str) -> str:
    quoted, test = best.spread("quoted"), best.test
    header = [
        "# @package _global_",
        f"# python train.py experiment={name}",
        f"# Found by a search on validation images, {answer.folder.name}: the best of {len(answer.drawn)} draws.",
        f"# Validation {percent(quoted)}, test {percent(test)}, n = {quoted.n}, held-out seeds.",
        f"# The same by its keys: python train.py {shlex.join(best.drawn.overrides)}",
    ]
    return "\n".join([*header, yaml.safe_dump(_tree(best.drawn.overrides), sort_keys=False)])


def _tree(overrides: Sequence[str]) -> dict[str, Any]:
    """Turn overrides into a Hydra config: groups become defaults, keys become values."""
    words = [word.lstrip("+").split("=", 1) for word in overrides]
    groups = [{f"override /{key}": value} for key, value in words if key in GROUPS]
    values = {key: yaml.safe_load(value) for key, value in words if key not in GROUPS and key != "seed"}
    return ({"defaults": groups} if groups else {}) | nested({key: _number(value) for key, value in values.items()})


def _number(value: Any) -> Any:
    """Parse a number such as 1e-05, which YAML would read as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
