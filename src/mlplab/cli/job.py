"""What train.py is to do: one run, in this process."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mlplab import startup
from mlplab.cli.compose import config_of
from mlplab.cli.resume import Earlier
from mlplab.config.schema import PIXELS, Config
from mlplab.runs import folder as run_folder

log = logging.getLogger(__name__)

CLASSES = 10  # of each data set


@dataclass(frozen=True)
class Job:
    """What is to be trained."""

    config: Config
    folder: Path
    resume: bool
    began: Callable[[], None]  # to be called once it is sure that the run goes on
    anyway: bool  # even with another arithmetic

    earlier: ClassVar[Earlier | None] = None  # set by Guard: Hydra hands nothing from one hook to the next

    @classmethod
    def of(cls, composed: DictConfig) -> Self:
        """The job that is running."""
        earlier = cls.earlier
        if earlier is not None:
            return cls(earlier.config, earlier.folder, True, earlier.keep_changes, composed.resume_anyway)
        assert composed.resume is None, "the run to go on with was not looked at"
        folder = Path(HydraConfig.get().runtime.output_dir)
        return cls(config_of(composed), folder, False, lambda: None, composed.resume_anyway)


def run(composed: DictConfig) -> float:
    """The monitored figure of a run.

    Raises:
        MlplabError: as `training.train` does.
    """
    job = Job.of(composed)
    log.info(introduction(job.config, job.folder))
    startup.import_lightning()  # once the configuration is good, because it takes seconds
    from mlplab.training.run import train

    return train(job.config, job.folder, job.resume, job.began, job.anyway).score


def introduction(config: Config, folder: Path) -> str:
    """Say in one line what is to be trained, and where to: mnist, 784-128-10, Adam, batch 32, 5 epochs; ..."""
    data, epochs = config.data, config.trainer.max_epochs
    widths = "-".join(map(str, (PIXELS[data.name], *config.model.hidden, CLASSES)))
    return (
        f"{data.name}, {widths}, {config.optimizer.name}, batch {data.batch_size}, {epochs} epoch{'s' * (epochs > 1)};"
        f" run folder {run_folder.short(folder)}"
    )
