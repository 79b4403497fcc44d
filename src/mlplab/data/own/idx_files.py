"""data=idx: two or four files in MNIST's format, with images of any size, plain or compressed with gzip.

Headers tell images from labels; names tell training from test.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlplab.config.datasets import Reading
from mlplab.data import idx_file
from mlplab.data.own.layout import TEST, VAL, Labelled, Part, has_word, natural, tests
from mlplab.errors import DataError


class IdxFiles:
    is_slow = False

    def __init__(self, root: Path, reading: Reading) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: not a folder. Name the folder of the IDX files with data.root=...")
        paths = sorted(path for path in root.iterdir() if "ubyte" in path.name or "idx" in path.name)
        paths = [path for path in paths if not path.is_dir()]
        paths = [path for path in paths if path.suffix != ".gz" or path.with_suffix("") not in paths]  # both: the same
        test, val = ([path for path in paths if has_word(word, path)] for word in (TEST, VAL))
        train = [path for path in paths if path not in (*test, *val)]
        test = tests(test, val)
        if len(train) != 2 or len(test) not in (0, 2):
            names = ", ".join(path.name for path in paths) or "none"
            raise DataError(
                f"{root}: expected images and labels for training, and perhaps two files for the test, with test or"
                f" t10k in their names;\nall names must contain idx or ubyte; found {names}."
            )
        self.train, self.test = train, test

    @property
    def files(self) -> Sequence[str]:
        return [str(path) for path in (*self.train, *self.test)]

    def read(self) -> Labelled:
        found = [_pair(paths) for paths in (self.train, self.test) if paths]
        values = np.unique(np.concatenate([labels for _, labels, _ in found]))
        parts = [
            Part(images, np.searchsorted(values, labels).astype(np.int64), partial(_place, path))
            for images, labels, path in found
        ]
        return Labelled(parts[0], parts[1] if self.test else None, sorted(map(str, values.tolist()), key=natural))


def _place(path: Path, row: int) -> str:
    return f"{path}, label {row + 1}"


def _pair(paths: Sequence[Path]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], Path]:
    """Read images (N, C, H, W) and labels (N,), in either order, and the path of the labels."""
    first, second = (
        idx_file.parse(path, idx_file.content(path), (*idx_file.LABELS, *idx_file.IMAGES)) for path in paths
    )
    are_images = [values.ndim > 2 for values in (first, second)]
    if sum(are_images) != 1:
        what = "images" if all(are_images) else "labels"
        raise DataError(f"{paths[0]} and {paths[1]}: both hold {what}; expected images and labels.")
    if not are_images[0]:
        first, second, paths = second, first, paths[::-1]
    if len(first) != len(second):
        raise DataError(f"{paths[1]}: {len(second):,} labels for {len(first):,} images of {paths[0]}.")
    images = first if first.ndim == 4 else first[:, None]  # (N, H, W) -> (N, 1, H, W)
    if images.shape[1] not in (1, 3):
        if images.shape[3] not in (1, 3):
            sizes = "x".join(map(str, images.shape[1:]))
            raise DataError(f"{paths[0]}: has images of {sizes} numbers; expected 1 or 3 colours, first or last.")
        images = np.ascontiguousarray(np.moveaxis(images, 3, 1))  # (N, H, W, C) -> (N, C, H, W)
    labels = (second if second.ndim == 1 else second[:, 0]).astype(np.int64)
    if (row := int(labels.argmin())) >= 0 and labels[row] < 0:
        raise DataError(f"{paths[1]}, label {row + 1}: is {labels[row]}, must be at least 0.")
    return images, labels, paths[1]
