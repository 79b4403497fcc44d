"""The two checkpoints of a run: the best weights, and a last one from which training goes on as if nothing had been.

The last one is saved where a batch is about to be trained, and restored at that very place: between the two Lightning
has nothing half done. What is not in the checkpoint (order, dropout) is a function of seed, epoch and batch.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mlplab.checkpoint_io import DurableCheckpointIO
from mlplab.classifier import Classifier
from mlplab.errors import CheckpointError, DivergedError

POSITION = "position"  # key of a checkpoint

# What Lightning counts within an epoch, by its keys in a checkpoint.
PROGRESS: dict[str, Callable[[Any], Any]] = {
    "epoch_loop.batch_progress": lambda loop: loop.batch_progress,
    "epoch_loop.scheduler_progress": lambda loop: loop.scheduler_progress,
    "epoch_loop.automatic_optimization.optim_progress": lambda loop: loop.automatic_optimization.optim_progress,
    "epoch_loop.val_loop.batch_progress": lambda loop: loop.val_loop.batch_progress,
}


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
        self.is_restored = False  # all that a checkpoint brought
        self._started = self._saved_at = time.monotonic()
        self._saved_step = 0
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
        if self._position["world_size"] != trainer.world_size:  # an epoch has other batches
            processes = f"{self._position['world_size']} processes, not by {trainer.world_size}"
            raise CheckpointError(f"{self.path}: of a run that is trained by {processes}.")
        # Lightning would try to guess from its counters what was half done.
        loop = trainer.fit_loop
        for part in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
            part._restarting = False
            part.reset_restart_stage()
        _forget_what_began(loop.epoch_progress)
        metrics = {name: torch.tensor(value) for name, value in self._position["metrics"].items()}
        trainer._logger_connector._callback_metrics.update(metrics)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._position is None:
            return
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        iter(fetcher)  # Lightning began to take batches before it knew which epoch it is
        first = self._position["batch"] or 0
        if not 0 <= first < trainer.num_training_batches:
            raise CheckpointError(f"{self.path}: of another run: batch {first + 1} of {trainer.num_training_batches}.")
        for _ in range(first):
            next(fetcher)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._position is not None:
            self._continue(trainer, pl_module)
        self.is_restored = True
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
        batches: Any = trainer.fit_loop.epoch_loop.batch_progress
        in_step = batches.current.ready > batches.current.processed and self._may_save(trainer)
        alone = trainer.world_size == 1  # another process may not have noticed
        if isinstance(exception, DivergedError) and self.is_restored and in_step and alone and _is_finite(pl_module):
            _forget_what_began(batches, but_for=1)
            self.save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert isinstance(pl_module, Classifier)
        epochs: Any = trainer.fit_loop.epoch_progress.current
        batches = trainer.fit_loop.epoch_loop.batch_progress.current
        checkpoint[POSITION] = {
            "world_size": trainer.world_size,
            "batch": batches.ready - 1 if epochs.started > epochs.processed else None,  # the next; None between epochs
            "stopped": trainer.should_stop,
            "seconds": self.seconds + time.monotonic() - self._started,
            "untrained": self.untrained,
            "images_seen": pl_module.images_seen,
            "running": pl_module.running(),
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        }

    def save(self, trainer: Trainer) -> None:
        """Nothing before the first step, which begins anew.

        Raises:
            CheckpointError: if an earlier checkpoint could not be written.
            DivergedError: if a weight is not finite, so that the file of those that were stays.
        """
        if trainer.fast_dev_run or trainer.global_step == 0:  # type: ignore[attr-defined]
            return
        module = trainer.lightning_module
        assert isinstance(module, Classifier)
        if not _is_finite(module):
            raise module.diverged(f"a weight after step {trainer.global_step:,}", math.nan)
        trainer.save_checkpoint(self.path)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def steps_left(self, trainer: Trainer) -> int | None:
        """Steps until the next save by steps; None if there is none."""
        if self.every_n_steps is None:
            return None
        return max(1, self.every_n_steps - (trainer.global_step - self._saved_step))

    def _may_save(self, trainer: Trainer) -> bool:
        """Not while gradients are kept from one batch to the next, which are not in a checkpoint."""
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        return batch % trainer.accumulate_grad_batches == 0

    def _is_due(self, trainer: Trainer) -> bool:
        if not self._may_save(trainer):
            return False
        if trainer.fit_loop.epoch_loop.batch_progress.current.ready == 1:
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
        for key, progress in PROGRESS.items():
            progress(trainer.fit_loop.epoch_loop).load_state_dict(self._loops[key])
        module.go_on(position["running"])


def _is_finite(module: LightningModule) -> bool:
    """Weights and the running statistics of batch norm, which a batch moves before its loss is known."""
    return all(bool(tensor.isfinite().all()) for tensor in module.state_dict().values())


def _forget_what_began(progress: Any, but_for: int = 0) -> None:
    """Count as ready and started only what was done; `but_for` more are ready, as where a batch is about to start."""
    for counted in (progress.total, progress.current):
        counted.started = counted.processed
        counted.ready = counted.processed + but_for
