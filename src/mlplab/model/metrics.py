"""Loss and accuracy by epoch: exact means, and their history in checkpoints."""

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F

from mlplab.data.blocks import Batch
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import ConfigError, DivergedError
from mlplab.model.shapes import require_labels

POINTS_BY_EPOCH = 4  # minimum number, for curves within epochs


class RunningMeans:
    """Sums and means over the images of an epoch."""

    def __init__(self) -> None:
        self.sums = (0.0, 0, 0)  # loss, correct answers, images

    def add(self, loss: float, correct: int, images: int) -> None:
        """Add a batch: the sum of its losses, the number of correct answers, the number of images."""
        self.sums = (self.sums[0] + loss, self.sums[1] + correct, self.sums[2] + images)

    def means(self) -> tuple[float, float]:
        """Loss and accuracy per image."""
        loss, correct, images = self.sums
        return loss / images, correct / images


class MeasuredModule(LightningModule):
    """A classifier that logs loss and accuracy by epoch, and keeps their history in its checkpoints.

    Attributes:
        history: metrics of each epoch, by name.
        metrics: scores since the epoch began.
        loaded_metrics: metrics of the weights loaded from a checkpoint.
        running: means of the current epoch, by stage.
        steps, images_seen: counted over the whole training.
        lr: learning rate of the last step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running = {stage: RunningMeans() for stage in ("train", "val", "test")}
        self.history: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self.loaded_metrics: dict[str, float] = {}
        self.steps = self.images_seen = 0
        self.lr = math.nan

    @property
    def datamodule(self) -> ImageDataModule | None:
        datamodule = getattr(self.trainer, "datamodule", None)
        return datamodule if isinstance(datamodule, ImageDataModule) else None

    @property
    def max_steps(self) -> int:
        """Number of steps after which training ends; -1 for no limit."""
        own = int(self.hparams.get("max_steps", -1))
        return own if own >= 0 else self.trainer.max_steps

    @property
    def steps_per_epoch(self) -> int:
        datamodule = self.datamodule
        if datamodule is None or datamodule.batches_per_block == 1:
            return int(self.trainer.num_training_batches)
        return datamodule.batches_per_epoch

    def on_train_start(self) -> None:
        if self.trainer.world_size > 1:
            raise ConfigError("One run trains on one device: Trainer(devices=1).")
        self.metrics = {}  # of a validation before training
        if self.trainer.ckpt_path is None and self.trainer.current_epoch == 0:  # and not the first training
            self.steps, self.images_seen, self.history = 0, 0, []
        if 0 <= self.max_steps <= self.steps:
            self.trainer.should_stop = True  # the checkpoint is from a run that had them

    def on_train_epoch_start(self) -> None:
        self._epoch_started = time.perf_counter()

    def add_steps(
        self, losses: Sequence[float], correct: Sequence[int], sizes: Sequence[int], lrs: Sequence[float]
    ) -> dict[int, tuple[tuple[float, int, int], float]]:
        """Count training steps, and end training after the last one.

        Returns:
            Points of curves within epochs, by step: sums of loss, correct answers and images since the epoch began,
            and the learning rate.
        """
        points, running = {}, self.running["train"]
        often = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        every = min(often, max(1, self.steps_per_epoch // POINTS_BY_EPOCH))
        by_step = zip(losses, correct, sizes, lrs, strict=True)
        for step, (loss, right, size, lr) in enumerate(by_step, self.steps + 1):
            if not math.isfinite(loss):
                self.lr = lr
                raise self.diverged(f"train/loss of step {step:,}", loss)
            running.add(loss * size, right, size)
            if every and step % every == 0:
                points[step] = running.sums, lr
        self.steps, self.lr = self.steps + len(losses), lrs[-1] if lrs else self.lr
        self.images_seen += sum(sizes)
        if 0 <= self.max_steps <= self.steps:
            self.trainer.should_stop = True
            self.trainer.check_val_every_n_epoch = 1  # the last weights are validated, whichever epoch this is
        return points

    def prepare_evaluation(self) -> None:
        """Prepare the weights for a validation, and at the end of training."""

    def score(self, stage: str, batch: Batch) -> Tensor:
        """Count the loss and the correct answers of a batch; return its logits (B, K), for callbacks."""
        images, labels = batch
        logits: Tensor = self(images)
        require_labels(images, labels, logits.shape[1])
        loss = F.cross_entropy(logits, labels, reduction="sum")
        self.running[stage].add(float(loss), int((logits.argmax(dim=1) == labels).sum()), len(labels))
        return logits

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.prepare_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.score("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.score("test", batch)

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def on_train_epoch_end(self) -> None:
        if self.trainer.should_stop or self.current_epoch + 1 == self.trainer.max_epochs:
            self.prepare_evaluation()  # callbacks save the last weights before `on_train_end`
        seconds = round(time.perf_counter() - self._epoch_started, 3)
        self._log("train")
        self.log("lr", self.lr)
        row = {"epoch": self.current_epoch + 1, "step": self.steps, "lr": self.lr, "seconds": seconds}
        self.history.append(row | self.metrics)
        self.metrics = {}

    def on_train_end(self) -> None:
        self.prepare_evaluation()  # of a run that a callback stopped after `on_train_epoch_end`

    def _log(self, stage: str) -> None:
        loss, acc = self.running[stage].means()
        self.running[stage] = RunningMeans()
        metrics = {f"{stage}/loss": loss, f"{stage}/acc": acc}
        self.metrics.update(metrics)
        if not math.isfinite(loss):
            raise self.diverged(f"{stage}/loss after step {self.steps:,}", loss)
        last = self.steps - (stage != "test")  # the test comes after it: a run that goes on takes it again
        self.log_dict({**metrics, "step": float(last)})  # where curves put them: Lightning counts blocks

    def diverged(self, metric: str, value: float) -> DivergedError:
        """Make the error for a metric that is not finite."""
        return DivergedError(
            f"{metric} is {value}: training diverged with optimizer.lr={self.lr:g}.\n"
            "Try a tenth of it, trainer.gradient_clip_val=1, or, with 16 bits, trainer.precision=bf16-mixed."
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["global_step"] = self.steps  # Lightning counts blocks
        checkpoint["images_seen"] = self.images_seen
        checkpoint["history"] = self.history
        under_way = {"epoch": self.current_epoch + 1, "step": self.steps, **self.metrics}
        checkpoint["figures"] = under_way if self.metrics else dict(self.history[-1]) if self.history else {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loaded_metrics = checkpoint["figures"]
        with suppress(RuntimeError):  # there is no Trainer: `load_from_checkpoint`
            if self.trainer.state.fn != "fit":
                return
        self.history = checkpoint["history"]
        self.steps, self.images_seen = checkpoint["global_step"], checkpoint["images_seen"]
