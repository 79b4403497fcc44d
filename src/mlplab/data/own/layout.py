"""A layout of own data: files on disk that are read into images, labels and class names."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mlplab import startup
from mlplab.config.datasets import Reading
from mlplab.errors import DataError

log = logging.getLogger(__name__)

MUCH = 2**30  # bytes of images, above which their memory is announced
# Words in names that tell training, validation and test images apart.
TRAIN, VAL, TEST = r"train(ing|set)?", r"val(id|idation)?", r"test(ing|set)?|t10k"


class Part(NamedTuple):
    """Training or test images; `place` names file and row of an image for messages."""

    images: npt.NDArray[np.uint8]  # (N, C, H, W)
    labels: npt.NDArray[np.int64]  # (N,), indices of names
    place: Callable[[int], str] = str


class Labelled(NamedTuple):
    """Own data as read; without test images, some of the training images are set aside."""

    train: Part
    test: Part | None
    names: Sequence[str]  # of the classes


class Layout(Protocol):
    """Data at `root` in one layout. A new one needs a class like this, and a line in `own_data.LAYOUTS`."""

    is_slow: bool  # slow enough to read that a cache pays off

    def __init__(self, root: Path, reading: Reading) -> None:
        """Find the files; raises DataError if there are none."""

    @property
    def files(self) -> Sequence[str]:
        """The paths of all files that `read` opens."""

    def read(self) -> Labelled:
        """Read the files; raises DataError with file and row of what is wrong."""


def has_word(pattern: str, path: Path) -> bool:
    """Tell whether the name of a file has a word: my-test_2.csv has "test", latest.csv does not."""
    return re.search(rf"(?<![a-z])({pattern})(?![a-z])", path.name.lower()) is not None


def is_word(pattern: str, path: Path) -> bool:
    """Tell whether the name of a folder is a word: a folder "test tubes" is a class."""
    return re.fullmatch(pattern, path.name.lower()) is not None


def tests(test: list[Path], val: list[Path]) -> list[Path]:
    """Return the files of the test set; those for validation, if there are no others."""
    for path in val if test else ():
        log.info(f"{path}: not used; data.val_size of the training images are used for validation")
    return test or val


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which 9 comes before 10; no two names have the same key, so that 1 and 01 have an order."""
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
    return [*parts, (-2, name)]  # before all parts, so that a shorter name is first


def allocated(root: Path, images: int, shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Make an array for images (N, C, H, W), once it is known to fit into memory.

    Raises:
        DataError: if it does not.
    """
    size, free = images * prod(shape), startup.free_memory()
    needs = f"{images:,} images of {'x'.join(map(str, shape))} numbers need {size / 1e9:,.1f} GB of memory"
    if free is not None and size > free:
        raise DataError(f"{root}: {needs}, {free / 1e9:,.1f} GB are free.\nUse fewer or smaller images.")
    if size > MUCH:
        log.info(f"{root}: {needs}")
    return np.empty((images, *shape), np.uint8)


def listed(lines: Iterable[str], most: int = 4) -> str:
    """Join the first lines, and count the rest."""
    found = list(lines)
    more = [f"and {len(found) - most:,} more"] if len(found) > most else []
    return "\n".join([*found[:most], *more])
