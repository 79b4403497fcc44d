"""What train.py is to do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mlplab.command.composed import config_of
from mlplab.command.resume import Earlier
from mlplab.config import Config


@dataclass(frozen=True)
class Job:
    """What is to be trained."""

    config: Config
    folder: Path
    resume: bool
    began: Callable[[], None]  # to be called once it is sure that the run goes on

    earlier: ClassVar[Earlier | None] = None  # set by Guard: Hydra hands nothing from one hook to the next

    @classmethod
    def of(cls, composed: DictConfig) -> Self:
        """The job that is running."""
        earlier = cls.earlier
        if earlier is not None:
            return cls(earlier.config, earlier.folder, True, earlier.keep_changes)
        assert composed.resume is None, "the run to go on with was not looked at"
        return cls(config_of(composed), Path(HydraConfig.get().runtime.output_dir), False, lambda: None)
