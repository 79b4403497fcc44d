"""The two checkpoints of a run: the best weights, and the state between two epochs, from which training resumes.

Order, dropout and distortions are not stored, because they are functions of seed, epoch and step. So a resumed run ends
like an undisturbed one.
"""

import math
import time
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from pydantic import BaseModel, ConfigDict

from mlplab.model.classifier import Classifier
from mlplab.runs.checkpoint_writer import HELD, DurableCheckpointIO

RUN = "run"  # key of a checkpoint


class RunState(BaseModel):
    """State of a run across all processes that train it, besides that of its network and optimizer."""

    model_config = ConfigDict(strict=True)

    stopped: bool = False  # early, before its last epoch
    seconds: float = 0.0  # of training
    untrained: dict[str, float] = {}  # metrics before training
    made_with: list[dict[str, str]] = []  # versions and arithmetic of each process, in order


class BestCheckpoint(Checkpoint):
    """Saves when a validation improves a metric."""

    def __init__(self, path: Path, monitor: str, mode: Literal["min", "max"]) -> None:
        self.path = path
        self.monitor = monitor
        self.sign = 1 if mode == "max" else -1
        self.best: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        value = float(trainer.callback_metrics[self.monitor])
        if self.best is None or self.sign * value > self.sign * self.best:
            self.best = value
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


class LastCheckpoint(Checkpoint):
    """Saves at the end of an epoch; the file is written once the epoch has been logged and shown."""

    def __init__(self, path: Path, state: RunState) -> None:
        self.path = path
        self.state = state
        self._started = time.monotonic()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit":
            trainer.should_stop = self.state.stopped

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        self._started = time.monotonic()
        epochs, noted = trainer.current_epoch, len(pl_module.history)
        if epochs != noted:
            raise ValueError(f"its loops have {epochs} epochs, its history {noted}")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        release(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the state, unless a weight is not finite: then the file of the previous epoch is kept.

        Raises:
            CheckpointError: if an earlier checkpoint could not be written.
            DivergedError: if a weight is not finite.
        """
        assert isinstance(pl_module, Classifier)
        if not all(bool(tensor.isfinite().all()) for tensor in pl_module.state_dict().values()):
            raise pl_module.diverged(f"a weight after step {pl_module.steps:,}", math.nan)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.path, storage_options=HELD)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        release(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        seconds = self.state.seconds + time.monotonic() - self._started
        now = self.state.model_copy(update={"stopped": trainer.should_stop, "seconds": seconds})
        checkpoint[RUN] = now.model_dump()


def release(trainer: Trainer) -> None:
    """Write the checkpoint of the epoch that has ended."""
    if isinstance(trainer.strategy.checkpoint_io, DurableCheckpointIO):
        trainer.strategy.checkpoint_io.release()
