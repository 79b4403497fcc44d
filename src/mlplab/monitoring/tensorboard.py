"""When something is shown of a run beside its figures by epoch: in TensorBoard, and as pictures in its folder.

Nothing of it changes a figure: neither random numbers nor weights are touched.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mlplab.config.schema import Config
from mlplab.data.datamodule import ImageDataModule
from mlplab.model.classifier import Classifier
from mlplab.model.evaluation import Scores, confusion
from mlplab.monitoring import tensorboard_tabs
from mlplab.monitoring.tensorboard_logger import BY_EPOCH, RunLogger
from mlplab.plots import canvas, from_tensors, run
from mlplab.runs import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

CONFUSION_SHARE = 0.01  # of the time so far, above which no confusion matrix of the validation is drawn but the last
PROJECTED_IMAGES = 1000  # of the test
GRADIENT_IMAGES = 1000  # of training, over which the gradients of a histogram are taken


class Board(Callback):
    """Without a logger only the pictures in the folder remain."""

    def __init__(self, config: Config, folder: Path, logger: RunLogger | None) -> None:
        self.drawing_s = 0.0  # that drawing, and taking gradients for histograms, took
        self._config = config
        self._show = config.show
        self._folder = folder
        self._logger = logger
        self._started = time.monotonic()
        self._shown = 0  # epochs
        self._logged = (0.0, 0, 0)  # sums of the epoch where it was last logged within it
        self._scored: list[tuple[Tensor, Tensor]] = []  # logits (B, K) and labels (B,) of a validation or test
        self._confusion: Tensor | None = None  # (K, K) of the last validation
        self._confusion_due = 1  # the next epoch whose confusion matrix is wanted
        self._confusion_s = 0.0  # that drawing those of the validation took

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what is written once: of a resumed run too, whose configuration may have changed."""
        assert isinstance(pl_module, Classifier)
        if self._logger is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        datamodule, writer, shape = _datamodule(trainer), self._logger.experiment, pl_module.hparams["image_shape"]
        if self._show.scalars:
            tensorboard_tabs.layout(writer, self._config.validates)
        if self._show.text:
            _guarded(
                "show.text", lambda: tensorboard_tabs.text(writer, self._config, self._folder, pl_module.mlp, shape)
            )
        if self._show.graph:
            _guarded("show.graph", lambda: tensorboard_tabs.graph(writer, pl_module.mlp, shape))
        if self._show.images:
            self._show_picture(lambda: from_tensors.training_images(datamodule), "data/training")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        self._shown = len(pl_module.history)
        self._confusion_due = next_milestone(self._shown)
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._logger is None or not self._show.scalars or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for step, (sums, rate) in outputs["points"].items():
            loss, correct, images = (new - old for new, old in zip(sums, self._logged, strict=True))
            self._logged = sums
            figures = {"train/loss_step": loss / images, "train/acc_step": correct / images, "lr_step": rate}
            self._logger.log_metrics(figures, step - 1)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show_epoch(trainer, pl_module)
        self._logged = (0.0, 0, 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show_epoch(trainer, pl_module, is_last=True)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        if self._show.confusion and self._logger is not None:
            self._scored.append((outputs, batch[1]))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scored, self._scored = self._scored, []
        if scored and trainer.state.fn == "fit":
            self._confusion = confusion(*(torch.cat(parts) for parts in zip(*scored, strict=True))).cpu()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        self._scored.append((outputs, batch[1]))

    def finish(self, trainer: Trainer, classifier: Classifier, best_epoch: int) -> None:
        """Show the test that has just been done, with the weights of `best_epoch` that the classifier has."""
        scored, self._scored = self._scored, []
        logits, labels = (torch.cat(parts).cpu() for parts in zip(*scored, strict=True))
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        images = _datamodule(trainer).originals("test")[: len(labels)]
        scores = Scores.of(logits, labels)
        self._show_pictures(trainer, classifier, scores, images, best_epoch)
        if self._logger is not None:
            self._show_scores(trainer, classifier, scores, images)
            self._logger.save()

    def _show_pictures(
        self, trainer: Trainer, classifier: Classifier, scores: Scores, images: Tensor, best_epoch: int
    ) -> None:
        show, info, step = self._show, _datamodule(trainer).info, classifier.steps
        weights = f"weights of epoch {best_epoch}"
        chosen = best_epoch if self._config.validates else None  # else it is simply the last
        about = f"test images, {weights}"
        if show.files:
            self._show_picture(lambda: run.curves(classifier.history, chosen), file="curves.png")
        self._show_picture(
            lambda: from_tensors.confusion(scores.confusion, info.classes, about),
            "confusion/test" if show.confusion else None,
            "confusion.png" if show.files else None,
            step,
        )
        self._show_picture(
            lambda: from_tensors.mistakes(scores, images, info.classes, about),
            "mistakes/test" if show.mistakes else None,
            "mistakes.png" if show.files else None,
            step,
        )
        if show.weights:
            self._show_picture(
                lambda: from_tensors.first_layer(classifier.evaluated, info.image_shape, info.classes, weights),
                "weights/first_layer",
                step=step,
            )

    def _show_scores(self, trainer: Trainer, classifier: Classifier, scores: Scores, images: Tensor) -> None:
        """In TensorBoard alone."""
        assert self._logger is not None
        writer, step, classes = self._logger.experiment, classifier.steps, _datamodule(trainer).info.classes
        if self._show.pr_curves:
            probabilities, labels = scores.probabilities, scores.labels
            _guarded("show.pr_curves", lambda: tensorboard_tabs.pr_curves(writer, probabilities, labels, classes, step))
        if self._show.projector:
            some = images[:PROJECTED_IMAGES]
            names = [classes[label] for label in scores.labels[:PROJECTED_IMAGES]]
            seen = _datamodule(trainer).normalized(some)
            _guarded(
                "show.projector",
                lambda: tensorboard_tabs.projector(writer, classifier.evaluated, seen, some, names, step),
            )

    def _show_epoch(self, trainer: Trainer, module: LightningModule, is_last: bool = False) -> None:
        """The epoch that has just ended, once it is known how long it took."""
        assert isinstance(module, Classifier)
        if len(module.history) == self._shown or self._logger is None:
            return
        self._shown = len(module.history)
        epoch = module.history[-1]
        if self._show.scalars:
            names = ("train/loss", "train/acc", "val/loss", "val/acc")
            by_epoch = {BY_EPOCH + name: epoch[name] for name in names if name in epoch}
            self._logger.log_metrics(by_epoch, self._shown)
            self._logger.log_metrics(_derived(module.history, _datamodule(trainer)), _step(module))
        self._show_confusion(trainer, module, is_last)
        if self._show.histograms:
            self._show_histograms(trainer, module)

    def _show_histograms(self, trainer: Trainer, module: Classifier) -> None:
        assert self._logger is not None
        started = time.monotonic()
        datamodule, writer, step = _datamodule(trainer), self._logger.experiment, _step(module)
        rows = datamodule.train_rows[:GRADIENT_IMAGES]
        images, labels = (part[rows] for part in datamodule.training_data(module.device))
        seen = datamodule.normalized(images)
        _guarded("show.histograms", lambda: tensorboard_tabs.histograms(writer, module.mlp, seen, labels, step))
        self.drawing_s += time.monotonic() - started

    def _show_confusion(self, trainer: Trainer, module: Classifier, is_last: bool) -> None:
        """Of the last validation of the epoch, where it is wanted and drawing them has not taken long so far."""
        matrix, self._confusion = self._confusion, None
        if matrix is None:
            return
        has_time = self._confusion_s <= CONFUSION_SHARE * (time.monotonic() - self._started)
        if not (is_last or (self._shown >= self._confusion_due and has_time)):
            return
        self._confusion_due = next_milestone(self._shown)
        title, classes = f"validation images after epoch {self._shown}", module.hparams["classes"]
        import matplotlib.backends.backend_agg  # noqa: F401  # once, and at no matrix's expense

        started = time.monotonic()
        self._show_picture(lambda: from_tensors.confusion(matrix, classes, title), "confusion/val", step=_step(module))
        self._confusion_s += time.monotonic() - started

    def _show_picture(
        self, draw: "Callable[[], Figure]", tag: str | None = None, file: str | None = None, step: int = 0
    ) -> None:
        """In TensorBoard under `tag`, and as `file`, where they are given."""
        if file is not None or (tag is not None and self._logger is not None):
            _guarded(tag or str(file), lambda: self._put(self._png(draw), tag, file, step))

    def _png(self, draw: "Callable[[], Figure]") -> bytes:
        started = time.monotonic()
        png = canvas.png(draw())
        self.drawing_s += time.monotonic() - started
        return png

    def _put(self, png: bytes, tag: str | None, file: str | None, step: int) -> None:
        if tag is not None and self._logger is not None:
            self._logger.add_png(tag, png, step)
        if file is not None:
            atomic_write.write_own({self._folder / file: png})


def _guarded(name: str, show: Callable[[], None]) -> None:
    """Matplotlib, its fonts, the disk: the run is worth more than what is shown of it."""
    try:
        show()
    except Exception as error:
        log.warning(f"{name} cannot be shown: {type(error).__name__}: {error}")


def next_milestone(epoch: int) -> int:
    """Of 1, 2, 5, 10, 20, 50, 100, ... the first after `epoch`: much changes at first, and little later."""
    power = 1
    while 5 * power <= epoch:
        power *= 10
    return next(n for n in (power, 2 * power, 5 * power) if n > epoch)


def _derived(history: Sequence[Mapping[str, float]], datamodule: ImageDataModule) -> dict[str, float]:
    """What the figures of the last epoch say together."""
    epoch = history[-1]
    steps = epoch["step"] - (history[-2]["step"] if len(history) > 1 else 0)
    images = min(steps * datamodule.batch_size, len(datamodule.train_rows))
    derived = {"images_per_s": images / max(epoch["seconds"], 1e-9)}
    if "val/loss" in epoch:
        derived |= {
            "gap/loss": epoch["val/loss"] - epoch["train/loss"],
            "gap/acc": epoch["train/acc"] - epoch["val/acc"],
        }
    return derived


def _step(module: Classifier) -> int:
    """Where curves have the figures of an epoch: its last step, counted from 0."""
    return module.steps - 1


def _datamodule(trainer: Trainer) -> ImageDataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, ImageDataModule)
    return datamodule
