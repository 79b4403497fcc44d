"""Settings of each run in conf/search/NAME.yaml, besides the space and the settings of the search."""

import json
import re
from typing import Any

from mlplab.cli.compose import plain
from mlplab.config.fields import flatten
from mlplab.sweeps.worker import Recipe


def words(recipe: Recipe) -> list[str]:
    """Return them as words of a command, groups before keys, so that a run can be trained without the search.

    `python train.py search=NAME` composes the file only for the search, not for its runs.
    """
    name = recipe.composed.hydra.runtime.choices.get("search")
    if name is None:
        return []
    with_it, without = (recipe.loader.load_sweep_config(recipe.composed, given) for given in ([f"search={name}"], []))
    usual = without.hydra.runtime.choices
    groups = [
        f"{group}={choice}"
        for group, choice in with_it.hydra.runtime.choices.items()
        if group != "search" and not group.startswith("hydra/") and choice != usual.get(group)
    ]
    before = flatten(plain(recipe.loader.load_sweep_config(recipe.composed, groups)))
    after = flatten(plain(with_it))
    return [*groups, *(f"{key}={_typed(value)}" for key, value in after.items() if before.get(key) != value)]


def _typed(value: Any) -> str:
    """Write a value as it is typed in a command."""
    if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value):
        return value
    return json.dumps(value, separators=(",", ":"))  # null, true, 0.1, [512,512], "two words"
