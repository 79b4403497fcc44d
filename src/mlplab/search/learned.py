"""Complete runs from elsewhere: of a grid in the search's folder, or in the folders of search.learn_from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mlplab.runs import atomic_write
from mlplab.runs.result import Result, read_result
from mlplab.search.halving import Figure
from mlplab.search.sampling import Trial
from mlplab.search.space import Dimension, Space

NOT_OF_THE_RUN = ("hydra", "sweep_name", "jobs", "launcher", "show", "search", "trick")
LARGEST = 2**16  # bytes of overrides.yaml


@dataclass(frozen=True)
class Learned:
    folder: Path
    result: Result
    overrides: dict[str, str]

    def trial(self, space: Space, monitor: str) -> Trial | None:
        """Return the run as a draw of a space; None if it is not in the space."""
        keys = {one.key for one in space.dimensions}
        values = {key: value for key, value in self.overrides.items() if key in keys}
        others = {key: value for key, value in self.overrides.items() if key not in keys}
        needed = [one for one in space.dimensions if space.active(one, values)]
        metrics = self.result.metrics
        if others != space.fixed or "val/acc" not in metrics or not all(_is_inside(one, values) for one in needed):
            return None
        figure = Figure.of(metrics["val/acc"], metrics["val/loss"], monitor)
        return Trial(values, self.result.max_epochs, figure.score, is_last_rung=True)


def runs(folders: Sequence[Path]) -> Iterator[Learned]:
    """Yield all complete runs directly within these folders."""
    for folder in folders:
        for path in sorted(folder.glob("*/result.json")):
            result = read_result(path.parent)
            content = atomic_write.read(path.parent / ".hydra" / "overrides.yaml", LARGEST)
            if result is not None and content is not None:
                yield Learned(path.parent, result, words(content))


def words(content: bytes) -> dict[str, str]:
    """Return the overrides of a run by key; none if they cannot be read."""
    try:
        found = yaml.load(content, yaml.CSafeLoader)
    except yaml.YAMLError:
        return {}
    given = [word.split("=", 1) for word in found or () if isinstance(word, str) and "=" in word]
    return {key: value for key, value in given if not key.startswith(NOT_OF_THE_RUN)}


def _is_inside(one: Dimension, values: dict[str, str]) -> bool:
    if one.key not in values:
        return False
    if one.choices:
        return values[one.key] in one.choices
    try:
        number = (int if one.is_whole else float)(values[one.key])
    except ValueError:
        return False
    return one.low <= number <= one.high
