"""The two checkpoints of a run: the best weights, and a last one from which training goes on as if nothing had been.

The last one is saved where a batch is about to be trained, and restored at that very place: between the two Lightning
has nothing half done. What is not in the checkpoint (order, dropout) is a function of seed, epoch and batch.
"""

import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mlplab.checkpoint_io import DurableCheckpointIO
from mlplab.classifier import Classifier
from mlplab.errors import DivergedError

POSITION = "position"  # key of a checkpoint


class BestCheckpoint(Checkpoint):
    """Saves when a validation gives a better figure than any before."""

    def __init__(self, path: Path, monitor: str, mode: Literal["min", "max"]) -> None:
        self.path = path
        self.monitor = monitor
        self.sign = 1 if mode == "max" else -1
        self.best: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        figure = float(trainer.callback_metrics[self.monitor])
        if self.best is None or self.sign * figure > self.sign * self.best:
            self.best = figure
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


class LastCheckpoint(Checkpoint):
    """Saves before the first batch of each epoch, whenever an interval has passed, and at the end.

    Args:
        path: of the file.
        every_n_steps: steps after which to save within an epoch; None for no such interval.
        every_n_minutes: the same in minutes.
    """

    def __init__(self, path: Path, every_n_steps: int | None = None, every_n_minutes: float | None = 1.0) -> None:
        self.path = path
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.seconds = 0.0  # of training, in the processes before this one
        self.untrained: dict[str, float] = {}  # figures from before training
        self._position: dict[str, Any] | None = None  # where to go on
        self._loops: dict[str, Any] = {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, Classifier)
        position = self._position = checkpoint[POSITION]
        self._loops = checkpoint["loops"]["fit_loop"]
        trainer.should_stop = position["stopped"]
        self.seconds, self.untrained = position["seconds"], position["untrained"]
        pl_module.images_seen = position["images_seen"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step
        if self._position is None:
            return
        # Lightning would try to guess from its counters what was half done.
        loop = trainer.fit_loop
        loop.restarting = False
        loop.reset_restart_stage()
        loop.epoch_loop.reset_restart_stage()
        _forget_what_began(loop.epoch_progress)
        metrics = {name: torch.tensor(value) for name, value in self._position["metrics"].items()}
        trainer._logger_connector._callback_metrics.update(metrics)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._position is None:
            return
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        iter(fetcher)  # Lightning began to take batches before it knew which epoch it is
        for _ in range(self._position["batch"] or 0):
            next(fetcher)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._position is not None:
            self._continue(trainer, pl_module)
        io = trainer.strategy.checkpoint_io
        if isinstance(io, DurableCheckpointIO):
            io.check()
        due = self._is_due(trainer)
        if trainer.world_size > 1:  # they save together, and their clocks differ
            due = trainer.strategy.broadcast(due)
        if due:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep the weights before the step that diverged, if they are finite; else those of the last file are."""
        if not isinstance(exception, DivergedError) or self._position is not None:
            return
        if all(weight.isfinite().all() for weight in pl_module.parameters()):
            _forget_what_began(trainer.fit_loop.epoch_loop.batch_progress, but_for=1)
            self.save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert isinstance(pl_module, Classifier)
        epochs: Any = trainer.fit_loop.epoch_progress.current
        batches = trainer.fit_loop.epoch_loop.batch_progress.current
        checkpoint[POSITION] = {
            "batch": batches.ready - 1 if epochs.started > epochs.processed else None,  # the next; None between epochs
            "stopped": trainer.should_stop,
            "seconds": self.seconds + time.monotonic() - self._started,
            "untrained": self.untrained,
            "images_seen": pl_module.images_seen,
            "running": pl_module.running(),
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        }

    def save(self, trainer: Trainer) -> None:
        """Raises CheckpointError if an earlier checkpoint could not be written."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.path)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def _is_due(self, trainer: Trainer) -> bool:
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        if batch % trainer.accumulate_grad_batches:
            return False  # gradients are kept from one batch to the next, and are not in a checkpoint
        if batch == 0:
            return trainer.global_step > self._saved_step
        steps, minutes = trainer.global_step - self._saved_step, (time.monotonic() - self._saved_at) / 60
        return (self.every_n_steps is not None and steps >= self.every_n_steps) or (
            self.every_n_minutes is not None and minutes >= self.every_n_minutes
        )

    def _continue(self, trainer: Trainer, module: LightningModule) -> None:
        """Set everything to what it was where the checkpoint was saved: in this hook, before this batch."""
        assert isinstance(module, Classifier)
        assert self._position is not None
        position, self._position = self._position, None
        if position["batch"] is None:
            return  # it was saved between two epochs, and the next has begun as any other
        loop = trainer.fit_loop.epoch_loop
        for progress, name in (
            (loop.batch_progress, "batch_progress"),
            (loop.scheduler_progress, "scheduler_progress"),
            (loop.automatic_optimization.optim_progress, "automatic_optimization.optim_progress"),
            (loop.val_loop.batch_progress, "val_loop.batch_progress"),
        ):
            progress.load_state_dict(self._loops[f"epoch_loop.{name}"])
        module.go_on(position["running"])


def _forget_what_began(progress: Any, but_for: int = 0) -> None:
    """Count as ready and started only what was done; `but_for` more are ready, as where a batch is about to start."""
    for counted in (progress.total, progress.current):
        counted.started = counted.processed
        counted.ready = counted.processed + but_for
