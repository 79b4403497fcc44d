"""Writes data sets in the files and folders of torchvision's MNIST, small enough for a test."""

from pathlib import Path

import torch
from torch import Tensor

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def encoded(values: Tensor) -> bytes:
    """Return the bytes of an IDX file of uint8 values."""
    header = b"".join(number.to_bytes(4, "big") for number in (0x0800 + values.ndim, *values.shape))
    return header + values.numpy().tobytes()


def patterned(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Make images (N, 28, 28) that differ by class and noise, and labels (N,), with equally frequent classes."""
    patterns = torch.rand(10, 28, 28, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    noise = torch.rand(count, 28, 28, generator=generator)
    images = (127 * patterns[labels] + 128 * noise).to(torch.uint8)
    images[:, 0, 0], images[:, 0, 1] = 0, 255  # every batch has the whole range
    return images, labels.to(torch.uint8)


def write(root: Path, name: str = "MNIST", train: int = 200, test: int = 50) -> Path:
    """Make a whole data set below `root`, and return the folder of its files."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    tensors = [*patterned(train, seed=1), *patterned(test, seed=2)]
    for file, values in zip(FILES, tensors, strict=True):
        (folder / file).write_bytes(encoded(values))
    return folder
