"""Figures of a network and of its data, from tensors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlplab.data.image_dataset import DatasetInfo
from mlplab.model.evaluation import Scores
from mlplab.plots import canvas, run
from mlplab.randomness import Purpose, derive_many

if TYPE_CHECKING:  # it imports Lightning, which pictures of predictions do not need
    from mlplab.data.datamodule import ImageDataModule


def mistakes(
    scores: Scores, images: Tensor, classes: Sequence[str], title: str, about: str, split: str = "test"
) -> "canvas.Figure":
    """Draw the most confident mistakes of `images` (N, C, H, W) uint8, in the order of the scores."""
    found = scores.most_confident_mistakes(run.MOST_MISTAKES)
    surest = scores.probabilities[found].max(dim=1)
    labels, guesses, probabilities = scores.labels[found].numpy(), surest.indices.numpy(), surest.values.numpy()
    shown, places = images[found].numpy(), found.tolist()
    number = "number, for predict.py or explain.py --test" if split == "test" else f"number among {split} images"
    return run.mistakes(shown, labels, guesses, probabilities, classes, title, places, about, number)


def first_layer(network: nn.Sequential, info: DatasetInfo, title: str, about: str) -> "canvas.Figure":
    layer, *others = (part for part in network if isinstance(part, nn.Linear))
    weights = layer.weight.detach().float().cpu().numpy()
    return run.first_layer(weights, info.image_shape, title, None if others else info.classes, about)


def training_images(datamodule: "ImageDataModule", title: str) -> "canvas.Figure":
    """Draw the first training images, distorted as in their batch, before mixup, dropout and pixel noise."""
    rows = datamodule.epoch_rows(0)[: run.MOST_IMAGES]
    images, labels = (part[rows] for part in datamodule.training_data(rows.device))
    batches = images.split(datamodule.batch_size)  # the last batch in part, which does not affect its images
    seeds = derive_many(len(batches), datamodule.seed, Purpose.AUGMENT)
    distorted = [datamodule.distortion(*pair) for pair in zip(batches, seeds, strict=True)]
    seen = datamodule.normalized(torch.cat(distorted)).mean(dim=1).numpy()
    return run.training_images(images.numpy(), seen, labels.numpy(), datamodule.info.classes, title)
