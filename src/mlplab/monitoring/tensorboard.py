"""Callback that shows more of a run than its metrics by epoch; it does not affect the result."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mlplab.config.schema import Config
from mlplab.data.datamodule import ImageDataModule
from mlplab.model.classifier import Classifier
from mlplab.model.evaluation import Scores, confusion
from mlplab.model.summary import network_name
from mlplab.monitoring import tensorboard_tabs
from mlplab.monitoring.pictures import Pictures, guarded
from mlplab.monitoring.tensorboard_logger import BY_EPOCH, RunLogger
from mlplab.plots import from_tensors, run

PROJECTED_IMAGES = 1000  # of the test
GRADIENT_IMAGES = 1000  # training images, for the gradients of a histogram


class Board(Callback):
    """Shows a run in TensorBoard, and as pictures in its folder; without a logger only as pictures."""

    def __init__(self, config: Config, folder: Path, logger: RunLogger | None) -> None:
        self._config, self._show = config, config.show
        self._folder, self._logger = folder, logger
        self._pictures = Pictures(folder, logger)
        self._shown = 0  # epochs
        self._logged = (0.0, 0, 0)  # sums of the epoch when it was last logged
        self._scored: list[tuple[Tensor, Tensor]] = []  # logits (B, K) and labels (B,) of a validation or test
        self._confusion: Tensor | None = None  # (K, K) of the last validation

    @property
    def drawing_s(self) -> float:
        """Seconds spent on drawing, and on gradients for histograms."""
        return self._pictures.seconds

    def _write(self, switch: str, tab: Callable[..., None], *arguments: Any) -> None:
        """Write one of the `tensorboard_tabs`, if its switch is on."""
        if self._logger is not None and getattr(self._show, switch):
            with guarded(f"show.{switch}"):
                self._logger.write(lambda writer: tab(writer, *arguments))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what is written once; again for a resumed run, whose configuration may have changed."""
        assert isinstance(pl_module, Classifier)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        network, shape = pl_module.mlp, pl_module.hparams["image_shape"]
        self._write("scalars", tensorboard_tabs.layout, self._config.validates)
        self._write("text", tensorboard_tabs.text, self._config, self._folder, network, shape)
        self._write("graph", tensorboard_tabs.graph, network, shape)
        if self._show.images:
            datamodule = _datamodule(trainer)
            title = _subject(datamodule, pl_module)
            self._pictures.show(lambda: from_tensors.training_images(datamodule, title), "data/training")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        self._shown = len(pl_module.history)
        self._pictures.start(self._shown)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._logger is None or not self._show.scalars or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for step, (sums, lr) in outputs["points"].items():
            loss, correct, images = (new - old for new, old in zip(sums, self._logged, strict=True))
            self._logged = sums
            metrics = {"train/loss_step": loss / images, "train/acc_step": correct / images, "lr_step": lr}
            self._logger.log_metrics(metrics, step - 1)

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

    def _show_epoch(self, trainer: Trainer, module: LightningModule, is_last: bool = False) -> None:
        """Show the epoch that just ended, once all its metrics are available."""
        assert isinstance(module, Classifier)
        if len(module.history) == self._shown or self._logger is None:
            return
        self._shown = len(module.history)
        datamodule, step = _datamodule(trainer), module.steps - 1  # its last step, counted from 0
        if self._show.scalars:
            epoch = module.history[-1]
            by_epoch = {BY_EPOCH + name: value for name, value in epoch.items() if "/" in name}
            self._logger.log_metrics(by_epoch, self._shown)
            self._logger.log_metrics(_derived(module.history, datamodule), step)
        matrix, self._confusion = self._confusion, None
        if matrix is not None:
            subject, classes = _subject(datamodule, module), module.hparams["classes"]
            self._pictures.show_validation(matrix, classes, subject, self._shown, step, is_last)
        if self._show.histograms:
            with self._pictures.timed():
                rows = datamodule.train_rows[:GRADIENT_IMAGES]
                images, labels = (part[rows] for part in datamodule.training_data(module.device))
                seen = datamodule.normalized(images)
                self._write("histograms", tensorboard_tabs.histograms, module.mlp, seen, labels, step)

    def finish(self, trainer: Trainer, classifier: Classifier, best_epoch: int) -> None:
        """Show the test that just ended, for which the classifier has the weights of `best_epoch`."""
        scored, self._scored = self._scored, []
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        logits, labels = (torch.cat(parts).cpu() for parts in zip(*scored, strict=True))
        show, show_picture, step = self._show, self._pictures.show, classifier.steps
        datamodule, scores = _datamodule(trainer), Scores.of(logits, labels)
        images, info = datamodule.originals("test")[: len(labels)], datamodule.info
        title = f"{_subject(datamodule, classifier)}, test {100 * scores.acc:.2f} %"
        weights = f"weights of epoch {best_epoch}, run {self._folder.resolve().name}"
        about = f"test images, {weights}"
        chosen = best_epoch if self._config.validates else None  # otherwise it is the last epoch
        if show.files:
            show_picture(lambda: run.curves(classifier.history, chosen, title, weights), file="curves.png")
        pictures: dict[str, tuple[bool, Callable[[], Any]]] = {
            "confusion": (show.confusion, lambda: run.confusion(scores.confusion.numpy(), info.classes, title, about)),
            "mistakes": (show.mistakes, lambda: from_tensors.mistakes(scores, images, info.classes, title, about)),
        }
        for name, (is_on, draw) in pictures.items():
            show_picture(draw, f"{name}/test" if is_on else None, f"{name}.png" if show.files else None, step)
        network, layer = classifier.eval_network, "weights/first_layer"
        if show.weights:
            show_picture(lambda: from_tensors.first_layer(network, info, title, weights), layer, step=step)
        self._write("pr_curves", tensorboard_tabs.pr_curves, scores.probabilities, labels, info.classes, step)
        some, names = images[:PROJECTED_IMAGES], [info.classes[label] for label in labels[:PROJECTED_IMAGES]]
        seen = datamodule.normalized(some)
        self._write("projector", tensorboard_tabs.projector, network, seen, some, names, step)
        if self._logger is not None:
            self._logger.save()


def _derived(history: Sequence[Mapping[str, float]], datamodule: ImageDataModule) -> dict[str, float]:
    """Compute curves that combine metrics of the last epoch."""
    epoch = history[-1]
    steps = epoch["step"] - (history[-2]["step"] if len(history) > 1 else 0)
    images = min(steps * datamodule.batch_size, len(datamodule.train_rows))
    derived = {"images_per_s": images / max(epoch["seconds"], 1e-9)}
    if "val/loss" in epoch:
        derived["gap/loss"] = epoch["val/loss"] - epoch["train/loss"]
        derived["gap/acc"] = epoch["train/acc"] - epoch["val/acc"]
    return derived


def _subject(datamodule: ImageDataModule, classifier: Classifier) -> str:
    return f"{datamodule.label}, {network_name(classifier.mlp)}"


def _datamodule(trainer: Trainer) -> ImageDataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, ImageDataModule)
    return datamodule
