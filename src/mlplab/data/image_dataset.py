"""Images in memory, and the facts of a data set that a trained network needs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlplab.config.datasets import DATASETS, Facts


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set that a trained network needs; plain values, stored in every checkpoint."""

    image_shape: tuple[int, int, int]  # (C, H, W)
    classes: tuple[str, ...]  # K names
    mean: float  # of the pixels of the training images, scaled to 0..1
    std: float
    object_size: int  # longest side of what is pictured, in pixels
    centred_by_mass: bool  # or else by its outline
    as_they_are: bool = False  # pictures are not framed, and must have the size of the training images


@dataclass(frozen=True)
class ImageDataset:
    """N training and M test images."""

    train_images: Tensor  # (N, C, H, W) uint8
    train_labels: Tensor  # (N,) int64, from 0 to K - 1
    test_images: Tensor  # (M, C, H, W) uint8
    test_labels: Tensor  # (M,) int64
    info: DatasetInfo
    is_test_set_aside: bool = False  # from the training images


def measured(train_images: Tensor, facts: Facts) -> DatasetInfo:
    """Return the facts of a data set with the mean and standard deviation of images (N, C, H, W) uint8."""
    mean, std = moments(train_images)
    channels, height, width = train_images.shape[1:]
    return DatasetInfo((channels, height, width), facts.classes, mean, std, facts.object_size, facts.centred_by_mass)


def frame(prepare: str, shape: tuple[int, int, int], classes: tuple[str, ...] = ()) -> DatasetInfo:
    """Return the facts of own images (C, H, W) but for their moments.

    `prepare` names a data set, like whose images they are framed in proportion, or is "none".
    """
    like = DATASETS.get(prepare)
    if like is None:
        return DatasetInfo(shape, classes, 0.0, 1.0, max(shape[1:]), False, as_they_are=True)
    object_size = round(min(shape[1:]) * like.object_size / like.image_shape[1])
    return DatasetInfo(shape, classes, 0.0, 1.0, object_size, like.centred_by_mass)


def moments(images: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of the pixels of uint8 images, scaled to 0..1."""
    counts = images.flatten().bincount(minlength=256).double()  # pixel counts by value
    values = torch.arange(256, dtype=torch.float64)
    mean = float(counts.dot(values)) / images.numel()
    std = (float(counts.dot(values**2)) / images.numel() - mean**2) ** 0.5
    return mean / 255, std / 255
