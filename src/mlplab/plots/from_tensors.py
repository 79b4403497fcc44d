"""Figures of a network and of its data, from tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mlplab.data.datamodule import ImageDataModule
from mlplab.data.datasets import DatasetInfo
from mlplab.model.evaluation import Scores
from mlplab.plots import canvas, run
from mlplab.randomness import Purpose, derive_many


def mistakes(scores: Scores, images: Tensor, classes: Sequence[str], about: str) -> "canvas.Figure":
    """Draw the most confident mistakes of `images` (N, C, H, W) uint8, in the order of the scores."""
    found = scores.most_confident_mistakes(run.MOST_MISTAKES)
    surest = scores.probabilities[found].max(dim=1)
    labels, guesses, probabilities = scores.labels[found].numpy(), surest.indices.numpy(), surest.values.numpy()
    title = f"most confident mistakes, {about}"
    return run.mistakes(images[found].numpy(), labels, guesses, probabilities, classes, title, found.tolist())


def first_layer(network: nn.Sequential, info: DatasetInfo, about: str) -> "canvas.Figure":
    layer, *others = (part for part in network if isinstance(part, nn.Linear))
    weights = layer.weight.detach().float().cpu().numpy()
    return run.first_layer(weights, info.image_shape, f"first layer, {about}", None if others else info.classes)


def training_images(datamodule: ImageDataModule) -> "canvas.Figure":
    """Draw the first training images, distorted as in their batch, before mixup, dropout and pixel noise."""
    rows = datamodule.epoch_rows(0)[: run.MOST_IMAGES]
    images, labels = (part[rows] for part in datamodule.training_data(rows.device))
    batches = images.split(datamodule.batch_size)  # the last batch in part, which does not affect its images
    seeds = derive_many(len(batches), datamodule.seed, Purpose.AUGMENT)
    distorted = [datamodule.distortion(*pair) for pair in zip(batches, seeds, strict=True)]
    seen = datamodule.normalized(torch.cat(distorted)).mean(dim=1).numpy()
    return run.training_images(images.numpy(), seen, labels.numpy(), datamodule.info.classes)
