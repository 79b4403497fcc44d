"""TensorBoard curves in the run folder itself: one event file, and nothing beside it."""

from pathlib import Path

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import TensorBoardLogger


class RunLogger(TensorBoardLogger):
    def __init__(self, folder: Path) -> None:
        super().__init__(save_dir=folder, name="", version="", default_hp_metric=False)

    @rank_zero_only
    def save(self) -> None:
        """Flush. Lightning would also write a hparams.yaml, which repeats .hydra/config.yaml."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush. Lightning closes the file after training and opens another one for the test."""
        self.experiment.flush()
