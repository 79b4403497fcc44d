"""Composes the configuration of a run from command-line overrides."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlplab.cli import (
    hydra_errors,
    run_name,  # noqa: F401  # conf/config.yaml asks for it
)
from mlplab.config.former_keys import renamed_override
from mlplab.config.schema import Config
from mlplab.config.validation import parse
from mlplab.errors import ConfigError, say
from mlplab.runs import folder as run_folder

# Hydra requires a + before every key that a config file does not list, such as an argument of an optimizer, and stops
# at the first unknown one. Open groups accept any key, and the schema lists every mistake.
_GROUPS = ("data", "model", "optimizer", "scheduler", "trainer")
ConfigStore.instance().store("open_groups", {group: DictConfig({}, flags={"struct": False}) for group in _GROUPS})

NOT_OF_THE_RUN = ("hydra", "resume", "resume_anyway", "sweep_name", "sweep_without", "jobs", "launcher", "search")


def compose(overrides: list[str], conf: Path) -> Config:
    """Return the configuration that these overrides of `conf` describe.

    Raises:
        ConfigError: with a line for each mistake.
    """
    overrides = with_new_keys(overrides)
    with composing(overrides, conf):
        return config_of(hydra.compose("config", overrides))


def with_new_keys(overrides: list[str]) -> list[str]:
    """Replace former keys, and log it."""
    words = [renamed_override(override) for override in overrides]
    if renamed := [f"{former} is now {word}" for former, word in zip(overrides, words, strict=True) if former != word]:
        say(f"Renamed: {', '.join(renamed)}.")
    return words


@contextmanager
def composing(overrides: list[str], conf: Path) -> Iterator[None]:
    """Open Hydra's compose API on the folder `conf`, and raise its errors about `overrides` as one ConfigError.

    Hydra stops at the first mistake, so it is called again without that override.
    """
    try:
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            yield
    except HydraException as error:
        lines, rest = hydra_errors.explain(error, overrides)
        if len(rest) < len(overrides):
            try:
                compose(rest, conf)
            except ConfigError as another:
                lines += str(another).splitlines()
        raise ConfigError("\n".join(lines)) from error
    except ValueError as error:
        if "Config group override" not in str(error):
            raise
        raise ConfigError("\n".join(hydra_errors.not_choices(overrides, conf))) from error


def config_of(composed: DictConfig) -> Config:
    """Raises ConfigError, with a line for each mistake."""
    return parse(plain(composed))


def plain(composed: DictConfig) -> dict[str, Any]:
    """Return the composed configuration of a run as plain values.

    Raises:
        ConfigError: if an interpolation cannot be resolved, or `resume_anyway` is neither true nor false.
    """
    if not isinstance(composed.get("resume_anyway", False), bool):
        raise ConfigError(f"resume_anyway: must be true or false, got {composed.resume_anyway}")
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key not in NOT_OF_THE_RUN])
    with resolving():
        tree = OmegaConf.to_container(own, resolve=True)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def write(composed: DictConfig, folder: Path) -> None:
    """Write the configuration of a run into its folder as Hydra does: config.yaml, hydra.yaml and overrides.yaml.

    Raises:
        CheckpointError: if it cannot be written.
    """
    composed.hydra.runtime.output_dir = str(folder)
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    hydra_alone, overrides = OmegaConf.masked_copy(composed, "hydra"), composed.hydra.overrides.task
    (folder / ".hydra").mkdir(exist_ok=True)
    for name, part in {"config": own, "hydra": hydra_alone, "overrides": overrides}.items():
        run_folder.write(folder / ".hydra" / f"{name}.yaml", OmegaConf.to_yaml(part).encode())


@contextmanager
def resolving() -> Iterator[None]:
    """Raise a ConfigError for an interpolation that cannot be resolved."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
