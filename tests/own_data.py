"""Writes images and labels in each layout of own data."""

from collections.abc import Sequence
from pathlib import Path

import idx
import numpy as np
import torch
from PIL import Image
from torch import Tensor


def made(count: int, seed: int, side: int = 8, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Make noisy images (N, side, side) uint8, each class with another bright row, and labels (N,) uint8."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count, dtype=torch.uint8) % classes
    images = torch.randint(0, 100, (count, side, side), generator=generator, dtype=torch.uint8)
    images[torch.arange(count), labels.long() * 2] += 150
    return images, labels


def write_folder(root: Path, images: Tensor, labels: Tensor, names: Sequence[str] = "0123456789") -> None:
    """Write pictures ROOT/CLASS/00000.png; (N, H, W) in grey, (N, 3, H, W) in colour."""
    for row, (image, label) in enumerate(zip(images.numpy(), labels.tolist(), strict=True)):
        (root / names[label]).mkdir(parents=True, exist_ok=True)
        pixels = image if image.ndim == 2 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(root / names[label] / f"{row}.png")


def rows_of(images: Tensor, labels: Tensor) -> list[list[str]]:
    """Return a table of label and pixels."""
    return np.concatenate([labels[:, None], images.flatten(1)], axis=1).astype(str).tolist()


def write_csv(path: Path, rows: Sequence[Sequence[str]], separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{separator.join(row)}\n" for row in rows))
    return path


def write_idx(root: Path, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for file, values in zip(idx.FILES, (*train, *test), strict=True):
        (root / file).write_bytes(idx.encoded(values))
