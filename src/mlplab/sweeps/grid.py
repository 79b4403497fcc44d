"""The jobs of a sweep: every combination of the given values, all composed and checked before the first starts."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from mlplab.cli.compose import config_of
from mlplab.cli.hydra_errors import ONE_AT_A_TIME, explain, of_several
from mlplab.cli.run_name import label
from mlplab.config.datasets import DATASETS
from mlplab.config.schema import Config
from mlplab.errors import ConfigError
from mlplab.sweeps.job import Job, folders

LONGEST_LABEL = 120  # characters; file systems allow names of 255
MANY = 50  # number of jobs from which composing, at 0.06 s each, is announced


def jobs(composed: DictConfig, loader: ConfigLoader, arguments: list[str]) -> list[Job]:
    """Make a job for each configuration, the longest first, except those that `sweep_without` describes.

    Raises:
        ConfigError: with a line for each mistake in any of them.
    """
    combinations = _combinations(composed, loader, arguments)
    varying = [position for position, column in enumerate(zip(*combinations, strict=True)) if len(set(column)) > 1]
    if len(combinations) > MANY:
        print(f"{len(combinations)} jobs: composing and checking each ...", flush=True)
    lines: dict[str, None] = {}  # an ordered set
    found: dict[str, tuple[tuple[str, ...], Config]] = {}
    for overrides in combinations:
        try:
            config = config_of(loader.load_sweep_config(composed, list(overrides)))
            found.setdefault(config.hash, (overrides, config))
        except HydraException as error:
            lines |= dict.fromkeys(explain(error, [])[0])
        except ConfigError as error:
            lines |= dict.fromkeys(str(error).splitlines())
    if lines:
        raise ConfigError("\n".join(lines))
    labels = {
        key: label([overrides[i] for i in varying])[:LONGEST_LABEL] or "run" for key, (overrides, _) in found.items()
    }
    places = folders(Path(composed.hydra.sweep.dir).absolute(), labels)
    made = [_job(places[key], overrides, labels[key], config) for key, (overrides, config) in found.items()]
    return sorted(made, key=lambda job: -job.cost)


def _combinations(composed: DictConfig, loader: ConfigLoader, arguments: list[str]) -> list[tuple[str, ...]]:
    """Return every combination, a tuple with one key=value per key."""
    columns: dict[str, list[str]] = {}  # the last value given for a key counts
    for override in OverridesParser.create(config_loader=loader).parse_overrides(arguments):
        columns[override.get_key_element()] = _column(override)
    if not all(columns.values()):
        raise ConfigError("A glob matches no choice: the grid has no jobs.")
    left_out = composed.sweep_without
    without = [left_out] if isinstance(left_out, str) else left_out or []
    every = itertools.product(*columns.values())
    left = [overrides for overrides in every if not any(_fits(overrides, str(each)) for each in without)]
    if not left:
        raise ConfigError("sweep_without: no combination of the grid remains")
    return left


def _column(override: Override) -> list[str]:
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if key in ONE_AT_A_TIME or override.is_interval_sweep():
        raise ConfigError(of_several(str(override.input_line)))
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _fits(overrides: Sequence[str], description: str) -> bool:
    """Tell whether a combination fits: `data=mnist`, `seed=1` fits "data=mnist,digits", and "seed=1 data=mnist"."""
    given = dict(override.split("=", 1) for override in overrides)
    wanted = dict(part.partition("=")[::2] for part in description.split())
    if not wanted or wanted.keys() - given.keys():
        raise ConfigError(f"sweep_without: must be key=value pairs with keys of the grid, got {description!r}")
    return all(given[key] in values.split(",") for key, values in wanted.items())


def _job(folder: Path, overrides: tuple[str, ...], name: str, config: Config) -> Job:
    if config.trainer.devices not in (1, "1"):
        raise ConfigError("trainer.devices: a sweep spreads its jobs over all devices; omit it.")
    data, epochs = data_set(config), config.trainer.max_epochs
    return Job(folder, overrides, name, config.hash, data, epochs, cost(config), reading=config.data.reading)


def data_set(config: Config) -> tuple[str, str]:
    """Return key and folder of the data set of a run."""
    return config.data.key, str(Path(config.data.root).expanduser().absolute())


def cost(config: Config) -> float:
    """Estimate the seconds on one core, well enough to start with the longest and to show the time left.

    Own data are taken to be as large as MNIST.
    """
    facts = config.data.facts or DATASETS["mnist"]
    images = config.data.train_images or facts.train_images
    steps = config.trainer.max_epochs * math.ceil(images / config.data.batch_size)
    widths = (facts.pixels, *config.model.hidden, len(facts.classes))
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    return steps * (1.5e-4 + 3.5e-11 * weights * config.data.batch_size)  # as measured on an Intel Xeon
