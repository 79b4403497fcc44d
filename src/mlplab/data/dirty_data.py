"""Fewer training images and wrong labels, for experiments with little or noisy data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlplab.errors import ConfigError
from mlplab.randomness import Purpose, derive, permutation


def balanced(rows: Tensor, labels: Tensor, classes: Sequence[str], size: int) -> Tensor:
    """Return the first `size` rows with equally many of each class; a larger size contains the rows of a smaller one.

    Args:
        rows: (n,), of the images that may be chosen.
        labels: (N,), of all images.
        classes: names of the K classes.
        size: number of images, at least 1.

    Raises:
        ConfigError: if a class has too few.
    """
    labels = labels[rows]
    wanted = [size // len(classes) + (k < size % len(classes)) for k in range(len(classes))]
    found = labels.bincount(minlength=len(classes)).tolist()
    for name, most, count in zip(classes, found, wanted, strict=True):
        if count > most:
            raise ConfigError(
                f"data.train_size: {size:,} images of {len(classes)} classes are {count:,} of each, but {name} has"
                f" {most:,} that are not set aside: at most {min(found) * len(classes):,}"
            )
    number = torch.empty_like(labels)  # position of a row among those of its class
    for k in range(len(classes)):
        number[labels == k] = torch.arange(found[k])
    return rows[number < torch.tensor(wanted)[labels]]


def noisy(labels: Tensor, rows: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Return a copy of the labels (N,) in which a share of those at `rows` is one of the other classes.

    Labels that are wrong at low noise keep their wrong class at higher noise.
    """
    order = permutation(len(labels), seed, Purpose.LABEL_NOISE)
    order = order[torch.isin(order, rows)][: round(share * len(rows))]
    generator = torch.Generator().manual_seed(derive(seed, Purpose.OTHER_LABEL))
    away = torch.randint(1, max(2, classes), labels.shape, generator=generator)
    noisy = labels.clone()
    noisy[order] = (labels + away)[order] % classes
    return noisy
