"""What a person sees while a run trains: a bar with the time left, and a line when an epoch is done."""

import logging
import math
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from mlplab import run_folder
from mlplab.classifier import Classifier

log = logging.getLogger(__name__)

REFRESH_S = 0.25
SIGN_OF_LIFE_S = 1.0


class Progress(Callback):
    """Logs a line for each epoch, draws a bar on stderr if `bar`, and keeps status.json in `folder` fresh."""

    def __init__(self, bar: bool, folder: Path) -> None:
        self._with_bar = bar
        self._folder = folder
        self._noted = -math.inf
        self._bar: tqdm[Any] | None = None
        self._shown = 0  # epochs
        self._total = 0  # batches
        self._started: float | None = None  # of the epoch
        self._before = 0.0  # seconds of the epoch in an earlier process

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = trainer.current_epoch
        self._total = int(trainer.num_training_batches * (trainer.max_epochs or 1))
        if trainer.max_steps > 0:
            self._total = min(self._total, trainer.max_steps * trainer.accumulate_grad_batches)
        if self._with_bar:
            self._bar = tqdm(
                total=self._total,
                initial=self._batches(trainer),
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

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._started is None:  # the first batch: what others draw of the last epoch is not of this one
            self._started = time.perf_counter() - self._before
            self._before = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._noted > SIGN_OF_LIFE_S:
            self._noted = time.monotonic()
            if trainer.is_global_zero:
                run_folder.write_status(
                    self._folder,
                    "running",
                    epoch=trainer.current_epoch + 1,
                    step=trainer.global_step,
                    done=round(self._batches(trainer) / self._total, 4),
                )
        # The means are read, which waits for the device, only when the bar has just been drawn.
        if self._bar is not None and self._bar.update(self._batches(trainer) - self._bar.n):
            assert isinstance(pl_module, Classifier)
            loss, acc = pl_module.totals["train"].means()
            self._bar.set_postfix_str(f"loss {loss:.4f}, acc {acc:.4f}", refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show_epoch(trainer, pl_module)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def state_dict(self) -> dict[str, Any]:
        return {"epoch_seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["epoch_seconds"]

    def _seconds(self) -> float:
        return 0.0 if self._started is None else time.perf_counter() - self._started

    def _batches(self, trainer: Trainer) -> int:
        """Those that were trained on: a block of compiled steps takes several at once."""
        return trainer.fit_loop.epoch_loop.batch_progress.total.ready

    def _show_epoch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch that has just ended, once its checkpoints are written."""
        assert isinstance(pl_module, Classifier)
        if len(pl_module.history) == self._shown:
            return
        self._shown = len(pl_module.history)
        seconds = self._seconds()
        self._started = None
        epoch = f"epoch {self._shown:>{len(str(trainer.max_epochs))}}/{trainer.max_epochs}"
        figures = pl_module.history[-1]
        figures["seconds"] = round(seconds, 3)
        stages = (
            f"{stage} loss {figures[f'{stage}/loss']:.4f} acc {figures[f'{stage}/acc']:.4f}"
            for stage in ("train", "val")
            if f"{stage}/loss" in figures
        )
        if self._bar is not None:
            self._bar.clear()
        if trainer.is_global_zero:
            log.info("  ".join([epoch, *stages, f"{seconds:.1f} s"]))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
