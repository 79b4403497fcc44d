"""Image data sets in memory: read, verified, and measured."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mlplab.config.datasets import DATASETS, IDX_DATASETS, OFFICIAL_SIZE, Facts
from mlplab.data import download
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


@dataclass(frozen=True)
class ImageDataset:
    """N training and M test images."""

    train_images: Tensor  # (N, C, H, W) uint8
    train_labels: Tensor  # (N,) int64, from 0 to K - 1
    test_images: Tensor  # (M, C, H, W) uint8
    test_labels: Tensor  # (M,) int64
    info: DatasetInfo


_kept: dict[tuple[str, Path], ImageDataset] = {}


def keep(name: str, root: Path) -> None:
    """Load a data set once for this process and its forks, which share its memory.

    Raises:
        DataError: as `load` does.
    """
    _kept[name, root.absolute()] = load(name, root)


def load(name: str, root: Path) -> ImageDataset:
    """Read "mnist", "fashion" or "digits"; the first two from `root`, where they are downloaded if missing.

    Raises:
        DataError: if a file is missing and cannot be fetched, or is damaged.
    """
    if (name, root.absolute()) in _kept:
        return _kept[name, root.absolute()]
    return _digits() if name == "digits" else _idx(IDX_DATASETS[name], root)


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
    info = _info(images[~test], DATASETS["digits"])
    return ImageDataset(images[~test], labels[~test], images[test], labels[test], info)


_INSTALL = "\nReinstall scikit-learn: pip install --force-reinstall scikit-learn."


def _idx(source: Facts, root: Path) -> ImageDataset:
    folder = root / source.dataset / "raw"
    refused: list[str] = []
    try:
        contents = {file: _found(source, root, file, refused) for file in source.sha256}
    except OSError as error:  # a name that is too long, or a folder without permission
        raise DataError(
            f"{folder}: cannot be read: {error.strerror}.\nName another folder with data.root=... or MLPLAB_DATA."
        ) from error
    missing = [file for file, content in contents.items() if content is None]
    if missing:
        import torchvision.datasets  # takes a second

        try:
            download.fetch(getattr(torchvision.datasets, source.dataset), root, missing)
        except DataError as error:
            if not refused:
                raise
            raise DataError("\n".join([*str(error).splitlines()[:2], f"Not used: {refused[0]}"])) from error
        contents |= {file: _content(folder / file, source, file) for file in missing}
    train_images, train_labels, test_images, test_labels = (content for content in contents.values() if content)
    for images, labels in (train_images, train_labels), (test_images, test_labels):
        _refuse_misfits(source, images, labels)
    sizes = ["x".join(map(str, images.values.shape[1:])) for images in (train_images, test_images)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{folder}: training images are {sizes[0]} pixels, test images {sizes[1]};\n"
            "both must have the same size. Replace the files that do not belong to this data set."
        )
    if train_images.values.min() == train_images.values.max():
        raise DataError(f"{train_images.path}: all pixels have the same value, so there is nothing to learn.{_WAY_OUT}")
    pixels, test_pixels = (images.values.unsqueeze(1) for images in (train_images, test_images))  # (N, 1, H, W)
    info = _info(pixels, source)
    return ImageDataset(pixels, train_labels.values.long(), test_pixels, test_labels.values.long(), info)


class _Content(NamedTuple):
    path: Path
    values: Tensor  # uint8: images (N, H, W), or labels (N,)


def _found(source: Facts, root: Path, file: str, refused: list[str]) -> _Content | None:
    """Read the first good copy of a file, and append to `refused` why others were rejected.

    Raises:
        DataError: if the file with the official name and place is damaged.
    """
    folder = root / source.dataset / "raw"
    at_home = [root / other.dataset / "raw" for other in IDX_DATASETS.values() if other != source]
    for path, is_own in download.copies(root, source.dataset, file):
        try:
            return _content(path, source, file, only_official=not is_own)
        except DataError as error:
            if path == folder / file:
                raise
            if path.parent not in at_home:
                refused.append(str(error))
    return None


def _refuse_misfits(source: Facts, images: _Content, labels: _Content) -> None:
    counts = len(images.values), len(labels.values)
    if counts[0] != counts[1]:
        raise DataError(f"{labels.path}: {counts[1]:,} labels for {counts[0]:,} images of {images.path}.{_WAY_OUT}")
    highest, last = int(labels.values.max()), len(source.classes) - 1
    if highest > last:
        raise DataError(f"{labels.path}: the labels must be from 0 to {last}, found {highest}.{_WAY_OUT}")


_WAY_OUT = "\nDelete it, and the official file is downloaded at the next start."


def _content(path: Path, source: Facts, file: str, only_official: bool = False) -> _Content:
    """Read a file, or its archive, and verify its header and, if its size is official, its checksum.

    Raises:
        DataError: if it is damaged, another file, or with `only_official`, not the official one.
    """
    if not path.is_file():  # opening a pipe would block until something writes to it
        raise DataError(f"{path}: not a file.{_WAY_OUT}")
    magic, dimensions = (2051, 3) if "images" in file else (2049, 1)
    header_size = 4 * (1 + dimensions)
    try:
        if path.suffix == ".gz":
            content = np.frombuffer(bytearray(gzip.decompress(path.read_bytes())), np.uint8)
        else:
            content = np.fromfile(path, np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.{_WAY_OUT}") from error
    found = len(content)
    if found < header_size:
        raise DataError(f"{path}: expected a header of {header_size} bytes, found {found} bytes.{_WAY_OUT}")
    first, *shape = content[:header_size].view(">u4").tolist()
    if first != magic:
        raise DataError(f"{path}: expected an IDX file (first number {magic}), found {first}.{_WAY_OUT}")
    expected = header_size + prod(shape)
    if found != expected or found == header_size:
        items = " x ".join(f"{length:,}" for length in shape)
        raise DataError(f"{path}: expected {expected:,} bytes for {items} items, found {found:,}.{_WAY_OUT}")
    if found in OFFICIAL_SIZE.values():  # including training files in place of test files
        _verify(path, hashlib.sha256(content.data).hexdigest(), source, file)
    elif only_official:
        belongs = f"{source.dataset}/raw/{file}"
        raise DataError(f"{path}: not the official {file}.\nTo use it anyway, move it to {belongs} below data.root.")
    return _Content(path, torch.from_numpy(content[header_size:].reshape(shape)))


def _verify(path: Path, digest: str, source: Facts, file: str) -> None:
    if digest == source.sha256[file]:
        return
    for name, other in IDX_DATASETS.items():
        for known, sha256 in other.sha256.items():
            if digest == sha256:
                raise DataError(
                    f"{path}: this is {known} of data={name}, not {file} of {source.dataset}.\n"
                    f"Train with data={name}, or move it to {other.dataset}/raw/{known} below data.root:\n"
                    "the file that belongs here is downloaded at the next start."
                )
    expected = source.sha256[file]
    raise DataError(f"{path}: damaged: expected sha256 {expected[:16]}..., found {digest[:16]}....{_WAY_OUT}")


def _info(train_images: Tensor, facts: Facts) -> DatasetInfo:
    counts = train_images.flatten().bincount(minlength=256).double()  # pixel counts by value
    values = torch.arange(256, dtype=torch.float64)
    mean = float(counts.dot(values)) / train_images.numel()
    std = (float(counts.dot(values**2)) / train_images.numel() - mean**2) ** 0.5
    channels, height, width = train_images.shape[1:]
    shape, of_objects = (channels, height, width), (facts.object_size, facts.centred_by_mass)
    return DatasetInfo(shape, facts.classes, mean / 255, std / 255, *of_objects)
