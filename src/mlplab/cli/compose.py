"""From what Hydra composes to the configuration of a run."""

from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlplab.cli import run_name  # noqa: F401  # conf/config.yaml asks for it
from mlplab.config.schema import Config
from mlplab.config.validation import parse
from mlplab.errors import ConfigError

# Hydra would want a + before every key that a config file does not list, such as an argument of an optimizer, and
# would stop at the first that is unknown. Open groups take them all, and the schema lists what is wrong.
_GROUPS = ("data", "model", "optimizer", "scheduler", "trainer", "averaging")
ConfigStore.instance().store("open_groups", {group: DictConfig({}, flags={"struct": False}) for group in _GROUPS})

NOT_OF_THE_RUN = ("hydra", "resume", "resume_anyway", "sweep_name", "sweep_without", "jobs", "launcher")


def config_of(composed: DictConfig) -> Config:
    """Raises ConfigError, with a line for everything that is wrong."""
    return parse(plain(composed))


def plain(composed: DictConfig) -> dict[str, Any]:
    """The tree of a run as plain values.

    Raises:
        ConfigError: if an interpolation in it leads nowhere, or `resume_anyway` is neither true nor false.
    """
    if not isinstance(composed.get("resume_anyway", False), bool):
        raise ConfigError(f"resume_anyway: must be true or false, got {composed.resume_anyway}")
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key not in NOT_OF_THE_RUN])
    try:
        tree = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}
