"""What train.py is to do."""

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

    earlier: ClassVar[Earlier | None] = None  # of the process

    @classmethod
    def of(cls, composed: DictConfig) -> Self:
        """The job that is running."""
        if cls.earlier is not None:
            return cls(cls.earlier.config, cls.earlier.folder, resume=True)
        return cls(config_of(composed), Path(HydraConfig.get().runtime.output_dir), resume=False)
