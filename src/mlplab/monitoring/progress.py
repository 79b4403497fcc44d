"""Progress of a run in the terminal: a bar with the time left, and a line for each epoch."""

import logging
import math
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from mlplab.model.classifier import Classifier
from mlplab.runs.result import write_status

log = logging.getLogger(__name__)

REFRESH_S = 0.25
SIGN_OF_LIFE_S = 1.0
LONG_EPOCH_S = 60.0


class Progress(Callback):
    """Logs a line for each epoch, draws a bar on stderr if `bar`, and updates status.json in `folder`."""

    def __init__(self, bar: bool, folder: Path) -> None:
        self._with_bar = bar
        self._folder = folder
        self._noted = -math.inf
        self._bar: tqdm[Any] | None = None
        self._shown = 0  # epochs
        self._total = 0  # steps
        self._has_warned = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        self._shown = trainer.current_epoch
        self._total = pl_module.steps_per_epoch * (trainer.max_epochs or 1)
        if pl_module.max_steps > 0:
            self._total = min(self._total, pl_module.max_steps)
        if self._with_bar:
            self._bar = tqdm(
                total=self._total,
                initial=pl_module.steps,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {remaining} left, {rate_fmt}{postfix}",
                desc=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
                unit=" steps",
                mininterval=REFRESH_S,
                dynamic_ncols=True,
                leave=False,
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show_epoch(trainer, pl_module)
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Classifier)
        steps = pl_module.steps
        if time.monotonic() - self._noted > SIGN_OF_LIFE_S:
            self._noted = time.monotonic()
            done = round(steps / self._total, 4)
            write_status(self._folder, "running", epoch=trainer.current_epoch + 1, step=steps, done=done)
        if self._bar is not None and self._bar.update(steps - self._bar.n):
            loss, acc = pl_module.running["train"].means()
            self._bar.set_postfix_str(f"loss {loss:.4f}, acc {acc:.4f}", refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show_epoch(trainer, pl_module)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _show_epoch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch that just ended, once its checkpoints are written."""
        assert isinstance(pl_module, Classifier)
        if len(pl_module.history) == self._shown:
            return
        self._shown = len(pl_module.history)
        epoch = f"epoch {self._shown:>{len(str(trainer.max_epochs))}}/{trainer.max_epochs}"
        figures = pl_module.history[-1]
        seconds = figures["seconds"]
        stages = [stage for stage in ("train", "val") if f"{stage}/loss" in figures]
        told = (f"{stage} loss {figures[f'{stage}/loss']:.4f} acc {figures[f'{stage}/acc']:.4f}" for stage in stages)
        if self._bar is not None:
            self._bar.clear()
        log.info("  ".join([epoch, *told, f"{seconds:.1f} s"]))
        if seconds > LONG_EPOCH_S and not self._has_warned:
            self._has_warned = True
            log.info(f"a run that is stopped or killed loses the current epoch, here up to {seconds:.0f} s")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
