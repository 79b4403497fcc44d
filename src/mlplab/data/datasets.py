"""Image data sets in memory: read, verified, and measured."""

import gzip
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from mlplab.config.datasets import DATASETS, IDX_DATASETS, OWN, USUAL, Facts, Reading
from mlplab.errors import DataError


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


_kept: dict[tuple[str, Path, Reading], ImageDataset] = {}


def keep(name: str, root: Path, reading: Reading = USUAL) -> None:
    """Load a data set once for this process and its forks, which share its memory.

    Raises:
        DataError: as `load` does.
    """
    _kept[name, root.absolute(), reading] = load(name, root, reading)


def load(name: str, root: Path, reading: Reading = USUAL) -> ImageDataset:
    """Read a data set of DATASETS from `root`, where it is downloaded if missing, or own data at `root`.

    Raises:
        DataError: if a file is missing and cannot be fetched, or is damaged.
    """
    if (name, root.absolute(), reading) in _kept:
        return _kept[name, root.absolute(), reading]
    if name == "digits":
        return _digits()
    if name in OWN:
        from mlplab.data.own import own_data  # which needs SciPy and Pillow, for pictures

        return own_data.load(name, root, reading)
    from mlplab.data import torchvision_sets

    return torchvision_sets.load(IDX_DATASETS[name], root)


def _digits() -> ImageDataset:
    """Read 1,797 digits of 8 x 8 pixels; every fifth image is for the test, because there is no official split.

    Importing scikit-learn's `load_digits` would take a second, because of SciPy's statistics.
    """
    package = find_spec("sklearn")  # located without importing it
    if package is None or package.origin is None:
        raise DataError(f"The digits come with scikit-learn, which is not installed.{_INSTALL}")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:  # 64 pixels and the label in each line
        lines = gzip.decompress(path.read_bytes()).splitlines()
        rows = torch.tensor([[int(number) for number in line.split(b",")] for line in lines]).view(1797, 65)
    except (OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: missing or damaged: {error}.{_INSTALL}") from error
    images, labels = rows[:, :64].view(-1, 1, 8, 8), rows[:, 64]  # (N, 65) -> (N, 1, 8, 8), (N,)
    images = images.mul(255 / 16).round().to(torch.uint8)  # 17 grey levels, scaled to the range of the other data sets
    test = torch.arange(len(images)) % 5 == 0
    info = measured(images[~test], DATASETS["digits"])
    return ImageDataset(images[~test], labels[~test], images[test], labels[test], info)


_INSTALL = "\nReinstall scikit-learn: pip install --force-reinstall scikit-learn."


def measured(train_images: Tensor, facts: Facts) -> DatasetInfo:
    """Return the facts of a data set with the mean and standard deviation of images (N, C, H, W) uint8."""
    mean, std = moments(train_images)
    channels, height, width = train_images.shape[1:]
    return DatasetInfo((channels, height, width), facts.classes, mean, std, facts.object_size, facts.centred_by_mass)


def frame(prepare: str, shape: tuple[int, int, int], classes: tuple[str, ...] = ()) -> DatasetInfo:
    """Return the facts of own images (C, H, W), framed in proportion like a data set or not; moments are not set."""
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
