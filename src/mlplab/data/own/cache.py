"""A cache of own data that are slow to read, beside them, or below ~/.cache/mlplab where nothing can be written.

It is used as long as names, sizes and times of all files are the same. A reader finds a whole file or none, so several
processes may read and write at once.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mlplab.config.datasets import Reading
from mlplab.data.own.layout import Labelled, Part
from mlplab.errors import DataError
from mlplab.runs import atomic_write

VERSION = 3  # of the preparation; another one makes all caches invalid
MOST_BYTES = 2**30  # of images that are kept


def key(files: Sequence[str], root: Path, reading: Reading) -> str:
    """Return a hash of names, sizes and times of the files.

    A program cannot set the time of a file's last change (ctime), unlike that of its last modification (mtime).

    Raises:
        DataError: if a file has just been deleted.
    """
    digest = hashlib.sha256(f"{VERSION} {reading.prepare} {reading.label_column}".encode())
    begin = len(str(root)) if root.is_dir() else len(str(root.parent))  # of the part of a path that names the file
    try:
        for path in sorted(files):
            found = os.stat(path)  # noqa: PTH116  # a Path for each of 60,000 files would take a quarter of a second
            line = f"\n{path[begin:]} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
            digest.update(line.encode(errors="surrogateescape"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    return digest.hexdigest()


def read(root: Path, reading: Reading, key: str) -> Labelled | None:
    """Return the data stored with this key; None if they are missing or damaged."""
    for path in _places(root, reading):
        with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            if (found := _labelled(path, key)) is not None:
                return found
    return None


def _labelled(path: Path, key: str) -> Labelled | None:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
        if str(found["key"]) != key:
            return None
        train, test = (
            Part(found[f"{name}_images"], found[f"{name}_labels"]) if f"{name}_images" in found else None
            for name in ("train", "test")
        )
        return None if train is None else Labelled(train, test, json.loads(str(found["names"])))


def write(root: Path, reading: Reading, key: str, labelled: Labelled) -> None:
    """Store the data, unless they are too large, or cannot be written anywhere."""
    parts = {"train": labelled.train} | ({"test": labelled.test} if labelled.test else {})
    if sum(part.images.nbytes for part in parts.values()) > MOST_BYTES:
        return
    arrays: dict[str, Any] = {"key": np.array(key), "names": np.array(json.dumps(list(labelled.names)))}
    for name, part in parts.items():
        arrays |= {f"{name}_images": part.images, f"{name}_labels": part.labels}
    file = io.BytesIO()
    np.savez(file, **arrays)
    for path in _places(root, reading):
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write.write(path, file.getvalue(), sync=False)
            return


def _places(root: Path, reading: Reading) -> Iterator[Path]:
    """Yield the places of the cache file for this way to read, the preferred one first."""
    root = root.resolve()
    beside = root if root.is_dir() else root.parent
    name = f"{root.stem}-{reading.prepare}-{reading.label_column}"
    yield beside / ".mlplab" / f"{name}.npz"
    place = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:16]
    yield Path("~/.cache/mlplab/own").expanduser() / f"{name}-{place}.npz"
