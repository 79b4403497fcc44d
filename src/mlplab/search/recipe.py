"""The winner of a search as a recipe of conf/experiment."""

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


def write(answer: Answer, path: Path) -> None:
    """Write the winner, with what was measured of it in the header.

    Raises:
        ConfigError: if the file exists, or nobody has won yet.
        CheckpointError: if it cannot be written.
    """
    best = answer.winner
    if best is None or not best.quoted:
        raise ConfigError(f"{run_folder.short(answer.folder)}: nobody has won yet. Let the search come to its end.")
    if os.path.lexists(path):
        raise ConfigError(f"{path}: is there already. Give another name.")
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
        f"# Validation {percent(quoted)}, test {percent(test)}, n = {quoted.n}, seeds that chose nothing.",
        f"# The same by its keys: python train.py {shlex.join(best.drawn.overrides)}",
    ]
    return "\n".join([*header, yaml.safe_dump(_tree(best.drawn.overrides), sort_keys=False)])


def _tree(overrides: Sequence[str]) -> dict[str, Any]:
    """The overrides of a command as a file of Hydra: groups become defaults, keys become values."""
    words = [word.lstrip("+").split("=", 1) for word in overrides]
    groups = [{f"override /{key}": value} for key, value in words if "." not in key and key != "seed"]
    values = {key: yaml.safe_load(value) for key, value in words if "." in key}
    return ({"defaults": groups} if groups else {}) | nested({key: _number(value) for key, value in values.items()})


def _number(value: Any) -> Any:
    """YAML takes 1e-05 for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
