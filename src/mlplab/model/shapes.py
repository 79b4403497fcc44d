"""Image shape and classes, on which a network and its data must agree."""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:  # it imports Lightning
    from mlplab.data.datamodule import ImageDataModule

# Both determine the shapes of the weights.
SIZES: dict[str, Callable[[Any], int]] = {"image_shape": math.prod, "classes": len}


def agreed(values: Mapping[str, Any], from_data: Set[str], datamodule: "ImageDataModule") -> dict[str, Any]:
    """Return image_shape and classes: from the data if `from_data` names them, otherwise from `values`.

    Raises:
        ValueError: if one from `values` differs from the data.
    """
    found = {"image_shape": datamodule.info.image_shape, "classes": datamodule.info.classes}
    for name in found.keys() - from_data:
        if SIZES[name](values[name]) != SIZES[name](found[name]):
            raise ValueError(
                f"`{name}` must be {found[name]} for the images of {datamodule.name}, got {values[name]}:"
                f" Classifier(..., {name}={found[name]})"
            )
    return {name: found[name] if name in from_data else values[name] for name in found}


def sizes(values: Mapping[str, Any]) -> list[int]:
    return [size(values[name]) for name, size in SIZES.items()]


def keep(module: Any, _: object) -> None:
    """Stop taking values from the data: weights were loaded, and their network is kept."""
    module.from_data.clear()


def require_shape(images: Tensor, image_shape: Sequence[int]) -> None:
    """Raise ValueError unless images (B, C, H, W) have that many pixels."""
    if images.shape[1:].numel() != math.prod(image_shape):
        raise ValueError(
            f"`image_shape` must be that of the images, {tuple(images.shape[1:])}, got {tuple(image_shape)}"
        )


def require_labels(images: Tensor, labels: Tensor, num_classes: int) -> None:
    """Raise ValueError unless each image has a label (B,), int64, of one of the classes."""
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 (B,), got {labels.dtype} {tuple(labels.shape)}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must be from 0 to {num_classes - 1}, one for each of `classes`, got {labels.tolist()[:10]}"
        )
