"""Figures of a network and of its data, from tensors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.evaluation import Scores
from mlplab.plots import predictions, run
from mlplab.randomness import Purpose, derive_many

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(matrix: Tensor, classes: Sequence[str], about: str) -> "Figure":
    """`matrix` (K, K), see `Scores`; `about`: which images, and weights of when."""
    return run.confusion(matrix.numpy(), classes, about)


def mistakes(scores: Scores, images: Tensor, classes: Sequence[str], about: str) -> "Figure":
    """The most confident ones; `images` (N, C, H, W) uint8 as they were scored."""
    found = scores.most_confident_mistakes(run.MOST_MISTAKES)
    surest = scores.probabilities[found].max(dim=1)
    labels, guesses, probabilities = scores.labels[found].numpy(), surest.indices.numpy(), surest.values.numpy()
    title = f"most confident mistakes, {about}"
    return run.mistakes(images[found].numpy(), labels, guesses, probabilities, classes, title, found.tolist())


def first_layer(
    network: nn.Sequential, image_shape: tuple[int, int, int], classes: Sequence[str], about: str
) -> "Figure":
    layer, *others = (part for part in network if isinstance(part, nn.Linear))
    weights = layer.weight.detach().float().cpu().numpy()
    return run.first_layer(weights, image_shape, f"first layer, {about}", None if others else classes)


def training_images(datamodule: ImageDataModule) -> "Figure":
    """The first ones, distorted as in their batch; before mixup, and before dropout and noise of pixels."""
    rows = datamodule.epoch_rows(0)[: run.MOST_IMAGES]
    images, labels = (part[rows] for part in datamodule.training_data(rows.device))
    batches = images.split(datamodule.batch_size)  # the last one in part: what becomes of an image does not show that
    seeds = derive_many(len(batches), datamodule.seed, Purpose.AUGMENT)
    distorted = [datamodule.distortion(*pair) for pair in zip(batches, seeds, strict=True)]
    seen = datamodule.normalized(torch.cat(distorted)).mean(dim=1).numpy()
    return run.training_images(images.numpy(), seen, labels.numpy(), datamodule.info.classes)


def predicted(
    images: Tensor,
    probabilities: Tensor,
    classes: Sequence[str],
    names: Sequence[str],
    truths: Sequence[int] | None,
    title: str,
) -> "Figure":
    """Images (N, C, H, W) uint8, `probabilities` (N, K), a name and, if it is known, the class of each image."""
    return predictions.predictions(images.numpy(), probabilities.numpy(), classes, names, truths, title)
