"""Finds, verifies and reads torchvision's data sets in the format of MNIST."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mlplab.config.datasets import IDX_DATASETS, OFFICIAL_SIZE, Facts
from mlplab.data import download, idx_file
from mlplab.data.image_dataset import ImageDataset, measured
from mlplab.errors import DataError


def load(source: Facts, root: Path) -> ImageDataset:
    """Read a data set in torchvision's files; those that are missing are downloaded.

    Raises:
        DataError: if a file is missing and cannot be fetched, or is damaged.
    """
    folder = root / source.dataset / "raw"
    refused: list[str] = []
    try:
        contents = {file: _found(source, root, file, refused) for file in source.files}
    except OSError as error:  # a name that is too long, or a folder without permission
        raise DataError(
            f"{folder}: cannot be read: {error.strerror}.\nName another folder with data.root=... or MLPLAB_DATA."
        ) from error
    missing = [file for file, content in contents.items() if content is None]
    if missing:
        import torchvision.datasets  # takes a second

        try:
            download.fetch(getattr(torchvision.datasets, source.dataset), root, missing, source.downloads)
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
    rows = slice(*source.test_rows)
    pixels, test_pixels = (part.values.unsqueeze(1) for part in (train_images, test_images))  # (N, 1, H, W)
    classes, test_classes = (part.values.long() - source.first_label for part in (train_labels, test_labels))
    return ImageDataset(pixels, classes, test_pixels[rows], test_classes[rows], measured(pixels, source))


class _Content(NamedTuple):
    path: Path
    values: Tensor  # images (N, H, W) uint8, or labels (N,) as stored


def _found(source: Facts, root: Path, file: str, refused: list[str]) -> _Content | None:
    """Read the first good copy of a file, and append to `refused` why others were rejected.

    Raises:
        DataError: if the file with the official name and place is damaged.
    """
    folder = root / source.dataset / "raw"
    at_home = [root / other.dataset / "raw" for other in IDX_DATASETS.values() if other.dataset != source.dataset]
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
    first, last = source.first_label, source.first_label + len(source.classes) - 1
    for found in (int(labels.values.min()), int(labels.values.max())):
        if not first <= found <= last:
            raise DataError(f"{labels.path}: the labels must be from {first} to {last}, found {found}.{_WAY_OUT}")


_WAY_OUT = "\nDelete it, and the official file is downloaded at the next start."


def _content(path: Path, source: Facts, file: str, only_official: bool = False) -> _Content:
    """Read a file, or its archive, and verify its header and, if its size is official, its checksum.

    Raises:
        DataError: if it is damaged, another file, or with `only_official`, not the official one.
    """
    magics = idx_file.IMAGES[:1] if "images" in file else (0x0C02,) if file.endswith("-int") else idx_file.LABELS[:1]
    content = idx_file.content(path, _WAY_OUT)
    values = idx_file.parse(path, content, magics, _WAY_OUT)
    found = len(content)
    digest = ""
    if found in OFFICIAL_SIZE.values():  # including training files in place of test files
        digest = hashlib.sha256(content.data).hexdigest()
        _verify(path, digest, source, file)
    if only_official and digest != source.sha256.get(file):
        belongs = f"{source.dataset}/raw/{file}"
        raise DataError(f"{path}: not the official {file}.\nTo use it anyway, move it to {belongs} below data.root.")
    if values.ndim == 2:  # the class is the first of eight numbers about each digit
        values = np.ascontiguousarray(values[:, 0], dtype=np.int64)
    elif source.is_transposed and values.ndim == 3:
        values = np.ascontiguousarray(values.transpose(0, 2, 1))
    return _Content(path, torch.from_numpy(values))


def _verify(path: Path, digest: str, source: Facts, file: str) -> None:
    expected = source.sha256.get(file)
    if digest == expected:
        return
    for name, other in IDX_DATASETS.items():
        for known, sha256 in other.sha256.items():
            if digest == sha256:
                raise DataError(
                    f"{path}: this is {known} of data={name}, not {file} of {source.dataset}.\n"
                    f"Train with data={name}, or move it to {other.dataset}/raw/{known} below data.root:\n"
                    "the file that belongs here is downloaded at the next start."
                )
    if expected is not None:
        raise DataError(f"{path}: damaged: expected sha256 {expected[:16]}..., found {digest[:16]}....{_WAY_OUT}")
