"""data=folder: pictures by class, in folders train and test, or without them.

    PATH/train/cat/1.png PATH/test/cat/2.png    or PATH/cat/1.png: a share is set aside as the test set
    PATH/cat_1.png                              the class in the name of the file, before the last _

Pictures are in the order of their names, then of their classes.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlplab.config.datasets import Reading
from mlplab.data import image_files
from mlplab.data.image_dataset import frame
from mlplab.data.own.layout import (
    TEST,
    TRAIN,
    VAL,
    Labelled,
    Part,
    allocated,
    is_word,
    listed,
    natural,
    tests,
)
from mlplab.errors import DataError

ENDINGS = {f".{ending}" for ending in ("png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "pbm", "pgm", "ppm")}
PREPARED = (1, 28, 28)  # (C, H, W) of pictures that are framed


class Picture(NamedTuple):
    path: str
    name: str  # of the file
    label: str


class Folder:
    is_slow = True

    def __init__(self, root: Path, reading: Reading) -> None:
        self.root, self.prepare = root, reading.prepare
        if not root.is_dir():
            raise DataError(f"{root}: not a folder. Name the folder that holds train/CLASS/*.png with data.root=...")
        folders = [Path(entry.path) for entry in _entries(root) if entry.is_dir()]
        train, test, val = ([path for path in folders if is_word(word, path)] for word in (TRAIN, TEST, VAL))
        if (test or val) and not train:
            raise DataError(f"{root}: has a folder {(test or val)[0].name}, but no folder train.")
        if len(train) > 1 or len(test) > 1 or len(val) > 1:
            names = ", ".join(sorted(path.name for path in (*train, *test, *val)))
            raise DataError(f"{root}: expected one folder train, and perhaps one folder test; found {names}.")
        self.train = _pictures(train[0] if train else root)
        self.test = [picture for path in tests(test, val) for picture in _pictures(path)]

    @property
    def files(self) -> Sequence[str]:
        return [picture.path for picture in (*self.train, *self.test)]

    def read(self) -> Labelled:
        shape = PREPARED if self.prepare != "none" else self._shape()
        names = sorted({picture.label for picture in (*self.train, *self.test)}, key=natural)
        train = self._part(self.train, shape, names)
        return Labelled(train, self._part(self.test, shape, names) if self.test else None, names)

    def _part(self, pictures: Sequence[Picture], shape: tuple[int, int, int], names: Sequence[str]) -> Part:
        ordered = sorted(pictures, key=lambda picture: (natural(picture.name), natural(picture.label)))
        images, faults = allocated(self.root, len(ordered), shape), list[str]()
        info = frame(self.prepare, shape)
        for row, path in enumerate(Path(picture.path) for picture in ordered):
            try:
                images[row] = image_files.as_is(path, shape) if info.as_they_are else image_files.framed(path, info)
            except DataError as error:
                faults.append(str(error).splitlines()[0])
        if faults:
            raise DataError(listed(faults))
        index = {name: k for k, name in enumerate(names)}
        labels = np.array([index[picture.label] for picture in ordered], np.int64)
        return Part(images, labels, lambda row: ordered[row].path)

    def _shape(self) -> tuple[int, int, int]:
        """Return (C, H, W) of pictures used as they are: the most common size, and in colour if any of some 20 is."""
        some = sorted(self.files)[:: max(1, len(self.files) // 20)]
        shapes = [image_files.shape_of(Path(path)) for path in some]
        ((height, width), _), *_ = Counter(shape[1:] for shape in shapes).most_common()
        return max(channels for channels, *_ in shapes), height, width


def _pictures(folder: Path) -> list[Picture]:
    """List the pictures of a folder, in no order.

    Raises:
        DataError: if there is none, or a folder of a class has none.
    """
    found = [
        Picture(file.path, file.name, place.name)
        for place in _entries(folder)
        if place.is_dir()
        for file in _of_class(Path(place.path))
    ]
    if not found:
        flat = [entry for entry in _entries(folder) if _is_picture(entry) and "_" in entry.name]
        found = [Picture(file.path, file.name, file.name.rpartition("_")[0]) for file in flat]
    for path in (picture.path for picture in found if re.search("[\ud800-\udfff]", picture.label)):
        raise DataError(f"{path!a}: the name of the class is not valid UTF-8. Rename it.")
    if not found:
        raise DataError(
            f"{folder}: no pictures of classes found.\n"
            f"Expected {folder}/CLASS/*.png, with a folder for each class, or {folder}/CLASS_*.png."
        )
    return found


def _of_class(folder: Path) -> list["os.DirEntry[str]"]:
    entries = list(_entries(folder))
    found = [entry for entry in entries if _is_picture(entry)]
    inner = sorted(entry.name for entry in entries if entry.is_dir())
    if not found and inner:
        raise DataError(
            f"{folder}: the folder of a class, but there are only folders in it: {', '.join(inner[:5])}.\n"
            f"If these are the classes, or train and test, give data.root={folder}. Otherwise move their pictures up."
        )
    for name in inner:
        if _holds_pictures(folder / name):
            raise DataError(
                f"{folder}: the folder of a class, with pictures in it and in its folder {name}.\n"
                "Move these up if they belong to the class, otherwise away."
            )
    if not found:
        raise DataError(
            f"{folder}: the folder of a class, but there are no pictures in it.\n"
            f"Put some there ({', '.join(sorted(ENDINGS))}), or delete it."
        )
    return found


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}.") from error


def _holds_pictures(folder: Path) -> bool:
    return any(
        _is_picture(entry) or (entry.is_dir(follow_symlinks=False) and _holds_pictures(Path(entry.path)))
        for entry in _entries(folder)
    )


def _is_picture(entry: "os.DirEntry[str]") -> bool:
    return f".{entry.name.rpartition('.')[2].lower()}" in ENDINGS
