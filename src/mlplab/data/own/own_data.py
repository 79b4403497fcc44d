"""Reads a user's own data in one of several layouts, checks them, and sets test images aside if there are none."""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mlplab.config.datasets import Reading
from mlplab.data.image_dataset import ImageDataset, frame, moments
from mlplab.data.own import cache, checks
from mlplab.data.own.csv_table import CsvTable
from mlplab.data.own.folder import Folder
from mlplab.data.own.idx_files import IdxFiles
from mlplab.data.own.layout import Labelled, Layout, Part
from mlplab.randomness import Purpose, permutation

log = logging.getLogger(__name__)

LAYOUTS: Mapping[str, type[Layout]] = {"folder": Folder, "csv": CsvTable, "idx": IdxFiles}


def load(name: str, root: Path, reading: Reading) -> ImageDataset:
    """Read the data at `root`, which has the layout `name`.

    Raises:
        DataError: if there are none, or they are damaged or not fit to be trained and tested on.
    """
    labelled = _read(name, root.expanduser(), reading)
    train, test, names = labelled
    if test is None:
        train, test = _set_aside(train, reading)
    channels, height, width = train.images.shape[1:]
    mean, std = moments(torch.from_numpy(train.images))
    info = replace(frame(reading.prepare, (channels, height, width), tuple(names)), mean=mean, std=std)
    images, labels, of_test, test_labels = map(torch.from_numpy, (*train[:2], *test[:2]))
    return ImageDataset(images, labels, of_test, test_labels, info, is_test_set_aside=labelled.test is None)


def fingerprint(name: str, root: Path, reading: Reading) -> str:
    """Return a hash of names and sizes of the files, which is the same on every machine; raises DataError."""
    root = root.expanduser()
    files = map(Path, LAYOUTS[name](root, reading).files)
    lines = sorted(f"{os.path.relpath(path, root)} {path.stat().st_size}" for path in files)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _read(name: str, root: Path, reading: Reading) -> Labelled:
    layout = LAYOUTS[name](root, reading)
    if not layout.is_slow:
        return checks.checked(root, layout.read())
    key = cache.key(layout.files, root, reading)
    found = cache.read(root, reading, key)
    if found is None:
        log.info(f"reading {len(layout.files):,} files of {root}")
        found = checks.checked(root, layout.read())
        cache.write(root, reading, key, found)
    return found


def _set_aside(part: Part, reading: Reading) -> tuple[Part, Part]:
    """Set `test_size` of the images of each class aside, at least one of each; both parts keep their order."""
    order = permutation(len(part.labels), reading.split_seed, Purpose.TEST).numpy()
    chosen = np.zeros(len(order), dtype=bool)
    for k in np.unique(part.labels):
        of_class = order[part.labels[order] == k]
        count = min(max(1, round(reading.test_size * len(of_class))), len(of_class) - 1)
        chosen[of_class[:count]] = True
    return _rows(part, ~chosen), _rows(part, chosen)


def _rows(part: Part, rows: npt.NDArray[np.bool_]) -> Part:
    return Part(part.images[rows], part.labels[rows])
