"""The jobs of a sweep: every combination of the values that were given, composed and checked before the first one."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from mlplab.cli.compose import config_of
from mlplab.cli.hydra_errors import ONE_AT_A_TIME, explain, of_several
from mlplab.cli.run_name import label
from mlplab.config.datasets import DATASETS
from mlplab.config.schema import Config
from mlplab.errors import ConfigError

LONGEST_NAME = 120  # characters; file systems take 255
HASH_DIGITS = 10
MANY = 50  # jobs that take long enough to compose, at 0.06 s each, to say so


@dataclass(frozen=True)
class Job:
    overrides: tuple[str, ...]  # key=value
    config: Config
    label: str  # what tells it from the others of its grid

    @property
    def hash(self) -> str:
        return self.config.hash[:HASH_DIGITS]

    @property
    def folder_name(self) -> str:
        return f"{self.label}-{self.hash}"

    @property
    def cost(self) -> float:
        """A guess of its seconds on one core, good enough to begin with the longest and to tell the time left."""
        config, facts = self.config, DATASETS[self.config.data.name]
        images = facts.train_images - config.data.val_size
        steps = config.trainer.max_epochs * math.ceil(images / config.data.batch_size)
        widths = (facts.pixels, *config.model.hidden, len(facts.classes))
        weights = sum(a * b for a, b in itertools.pairwise(widths))
        return steps * (1.5e-4 + 3.5e-11 * weights * config.data.batch_size)  # as measured on an Intel Xeon


def jobs(composed: DictConfig, loader: ConfigLoader, arguments: list[str]) -> list[Job]:
    """One for each configuration, the longest first; none for what `sweep_without` describes.

    Raises:
        ConfigError: with a line for everything that is wrong in any of them.
    """
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    for override in parsed:
        one_at_a_time = override.is_sweep_override() and override.get_key_element() in ONE_AT_A_TIME
        if one_at_a_time or override.is_interval_sweep():
            raise ConfigError(of_several(str(override.input_line)))
    (every,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    if not every:
        raise ConfigError("A glob among these fits no choice: the grid has no job.")
    left_out = composed.sweep_without
    without = [left_out] if isinstance(left_out, str) else left_out or []
    combinations = [overrides for overrides in every if not any(_fits(overrides, str(each)) for each in without)]
    if not combinations:
        raise ConfigError("sweep_without: leaves nothing of the grid")
    varying = [position for position, column in enumerate(zip(*combinations, strict=True)) if len(set(column)) > 1]
    if len(combinations) > MANY:
        print(f"{len(combinations)} jobs: composing and checking each ...", flush=True)
    mistakes: dict[str, None] = {}  # a set that keeps the order
    found: dict[str, Job] = {}
    for overrides in combinations:
        try:
            config = config_of(loader.load_sweep_config(composed, overrides))
            found.setdefault(config.hash, Job(tuple(overrides), config, _label([overrides[i] for i in varying])))
        except HydraException as error:
            mistakes |= dict.fromkeys(explain(error, [])[0])
        except ConfigError as error:
            mistakes |= dict.fromkeys(str(error).splitlines())
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return sorted(found.values(), key=lambda job: -job.cost)


def _fits(overrides: Sequence[str], description: str) -> bool:
    """`data=mnist`, `seed=1` fits "data=mnist,digits", and "seed=1 data=mnist"."""
    given = dict(override.split("=", 1) for override in overrides)
    wanted = dict(part.partition("=")[::2] for part in description.split())
    if not wanted or wanted.keys() - given.keys():
        raise ConfigError(f"sweep_without: must be of key=value with keys of the grid, got {description!r}")
    return all(given[key] in values.split(",") for key, values in wanted.items())


def _label(overrides: list[str]) -> str:
    return label(overrides)[:LONGEST_NAME] or "run"
