"""Turns an assignment of a search space into a configuration."""

import copy
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from mlplab.cli.compose import plain
from mlplab.cli.hydra_errors import explain
from mlplab.config.fields import flatten
from mlplab.config.schema import Config
from mlplab.config.validation import parse
from mlplab.errors import ConfigError
from mlplab.search.space import Assignment, Dimension, Space
from mlplab.sweeps.worker import Recipe

POOLED_BY = ("scheduler.name", "scheduler.warmup", "regularization.averaging")  # they shape the accuracy curve


class Candidates:
    """Composes each choice of a config group with Hydra once, and sets single keys in the result."""

    def __init__(self, space: Space, recipe: Recipe) -> None:
        self.space = space
        self.recipe = recipe
        self._trees: dict[tuple[str, ...], dict[str, Any]] = {}

    def config(self, values: Assignment) -> Config:
        """Return the configuration; raises ConfigError, with a line for each mistake."""
        words = self.space.overrides(values)
        open_keys = {one.key for one in self.space.dimensions} | {"model.hidden"} & set(values)
        single_keys = [key for key in open_keys if not self.recipe.loader.get_group_options(key)]
        single = [word for word in words if word.split("=", 1)[0] in single_keys]
        tree = copy.deepcopy(self._tree(tuple(word for word in words if word not in single)))
        for override in OverridesParser.create().parse_overrides(single):
            _set(tree, override.get_key_element(), override.value())
        return parse(tree)

    def mistakes(self) -> list[str]:
        """List what the schema refuses in the space: each choice and each end of a range, tested separately."""
        lines: dict[str, None] = {}  # an ordered set
        for one in self.space.dimensions:
            for text in one.ends():
                try:
                    self.config(self._values_with(one, text))
                except ConfigError as error:
                    lines |= dict.fromkeys(str(error).splitlines())
        return list(lines)

    def _values_with(self, chosen: Dimension, text: str) -> dict[str, str]:
        """Return an assignment in which a dimension has a value and its condition holds."""
        wanted = {chosen.key: text}
        if chosen.condition is not None:
            wanted[chosen.condition.key] = chosen.condition.value
        wanted.setdefault("model.layers", "1")
        values: dict[str, str] = {}
        for one in self.space.dimensions:
            if one.key in wanted or one.condition is None:
                values[one.key] = wanted.get(one.key, one.ends()[0])
        return values

    def pool(self, config: Config) -> str:
        """Return the pool of a configuration: it is compared only within its pool until the last rung."""
        flat = flatten(config.model_dump(mode="json"))
        return " ".join(f"{key}={flat[key]}" for key in POOLED_BY)

    def _tree(self, words: tuple[str, ...]) -> dict[str, Any]:
        if words not in self._trees:
            try:
                self._trees[words] = plain(self.recipe.loader.load_sweep_config(self.recipe.composed, list(words)))
            except HydraException as error:
                raise ConfigError("\n".join(explain(error, [])[0])) from error
        return self._trees[words]


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    place = tree
    *sections, name = key.split(".")
    for section in sections:
        place = place.setdefault(section, {})
    place[name] = value
