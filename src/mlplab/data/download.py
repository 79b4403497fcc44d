"""Which files a data set has, whether they are there, and torchvision's download, made safe.

One process downloads at a time, with a time-out, whole files or none.
"""

import gzip
import hashlib
import os
import shutil
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from mlplab.config import torch_signatures
from mlplab.errors import DataError
from mlplab.runs import atomic_write

if TYPE_CHECKING:  # takes a second, and few starts have anything to download
    from torchvision.datasets import MNIST

# A mirror that is silent for so long is given up; MNIST has two of them.
TIMEOUT_S = 7.0

DIGIT_NAMES = tuple("0123456789")


@dataclass(frozen=True)
class IdxSource:
    """A data set in the files and folders of torchvision's MNIST."""

    dataset: str  # class of torchvision.datasets, which is asked for files that are missing
    classes: tuple[str, ...]
    object_size: int
    centred_by_mass: bool
    sha256: Mapping[str, str]  # of the official files, extracted


IDX_SOURCES = {
    "mnist": IdxSource(
        dataset="MNIST",
        classes=DIGIT_NAMES,
        object_size=20,  # digits fit a box of 20 x 20 in the frame of 28 x 28: LeCun, Cortes, Burges, MNIST's home page
        centred_by_mass=True,
        sha256={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion": IdxSource(
        dataset="FashionMNIST",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        object_size=28,  # the longest side fills the frame: Xiao, Rasul, Vollgraf 2017, figure 1
        centred_by_mass=False,
        sha256={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
}

# Extracted sizes in bytes of the official files, the same for both sets: a file of such a size must have its checksum.
OFFICIAL_SIZE = {
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}


def require(name: str, root: Path) -> None:
    """Look, without torch, for a copy of each file of a data set, or for a mirror that has it.

    Raises:
        DataError: if there is neither.
    """
    if files := missing(name, root):
        dataset = IDX_SOURCES[name].dataset
        if reason := _unreachable(torch_signatures.mirrors(dataset), files[0]):
            raise _not_there(root.expanduser() / dataset / "raw", files, reason, torch_signatures.mirrors(dataset))


def missing(name: str, root: Path) -> list[str]:
    """Files of a data set of which there is no copy, so that `datasets.load` would download them."""
    if name not in IDX_SOURCES:
        return []
    source, root = IDX_SOURCES[name], root.expanduser()
    try:
        return [
            file
            for file, sha256 in source.sha256.items()
            if not any(is_own or _has(path, sha256) for path, is_own in copies(root, source.dataset, file))
        ]
    except OSError:  # a folder that may not be searched: `datasets.load` says so
        return []


def _has(path: Path, sha256: str) -> bool:
    """Is this the checksum of a file, or of what is packed in it?"""
    try:
        if not path.is_file():  # to open a pipe would wait for who writes to it
            return False
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except (OSError, EOFError, zlib.error):
        return False


def _unreachable(mirrors: Sequence[str], file: str) -> str | None:
    """Why no mirror has a file; None if one has."""
    reason = None
    for mirror in mirrors:
        try:
            with urlopen(Request(f"{mirror}{file}.gz", method="HEAD"), timeout=TIMEOUT_S):
                return None
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and error.code == 405:  # it does not answer such a question
                return None
            reason = _reason(error)
    return reason


def _not_there(
    folder: Path, files: Sequence[str], reason: str, mirrors: Sequence[str], damaged: Sequence[str] = ()
) -> DataError:
    return DataError(
        f"{folder}: {', '.join(files)}\n"
        f"are not there, and could not be downloaded: {reason}\n"
        + (f"Damaged archives: {', '.join(damaged)}\n" if damaged else "")
        + f"Put them into that folder, packed or not: {files[0]}.gz ... are at {' and '.join(mirrors)}\n"
        "Or name a folder that has them with data.root=... or MLPLAB_DATA. data=digits needs no download."
    )


def copies(root: Path, dataset: str, file: str) -> Iterator[tuple[Path, bool]]:
    """Yield where a file, or its archive, may have been put by hand under one of its usual names, the likeliest first.

    True stands beside the folders of this data set, False beside those that may hold another.

    Raises:
        OSError: if a folder of this data set may not be searched.
    """
    own = [root / dataset / "raw", root / dataset]
    if root.name == dataset:  # a root that is too deep
        own += [root / "raw", root]
    elif (root.parent.name, root.name) == (dataset, "raw"):
        own += [root]
    others = (folder for folder in chain([root], root.glob("*"), root.glob("*/raw")) if folder not in own)
    names = [f"{name}{ending}" for name in (file, file.replace("-idx", ".idx")) for ending in ("", ".gz")]
    for folder in chain(own, others):
        for path in (folder / name for name in names):
            try:
                is_there = path.exists() and not path.is_dir()
            except OSError:
                if folder in own:
                    raise
                break
            if is_there:
                yield path, folder in own


def fetch(dataset: "type[MNIST]", root: Path, files: Sequence[str]) -> None:
    """Put the `files` that are missing from torchvision's folder of the data set there.

    Raises:
        DataError: if there is no network, or the folder cannot be written.
    """
    from torchvision.datasets.utils import check_integrity

    name = dataset.__name__
    folder = root / name / "raw"
    scratch = root / f".{name}.download"
    made = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]  # by us, the deepest first
    damaged = []  # archives that were copied there by hand
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write.lock(root / f".{name}.lock", timeout=-1):
            missing = [file for file in files if not (folder / file).exists()]
            if not missing:
                return  # another process has just done it
            shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
            (scratch / name / "raw").mkdir(parents=True)
            for archive, md5 in dataset.resources:  # torchvision takes these, and downloads what is not among them
                if (folder / archive).exists():
                    copied = shutil.copy(folder / archive, scratch / name / "raw")
                    if not check_integrity(copied, md5) and archive.removesuffix(".gz") in missing:
                        damaged.append(archive)
            try:
                with _timeout(TIMEOUT_S):
                    dataset(scratch, download=True)
                for file in missing:
                    (scratch / name / "raw" / file).replace(folder / file)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, RuntimeError, HTTPException) as error:
        if root in made:
            (root / f".{name}.lock").unlink(missing_ok=True)
        for place in made:
            with suppress(OSError):  # of one that is not empty
                place.rmdir()
        left = [file for file in files if not (folder / file).exists()]
        raise _not_there(folder, left, _reason(error), getattr(dataset, "mirrors", ()), damaged) from error


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)  # torchvision gives its requests none
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    """The last line: torchvision lists every mirror it tried above it."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
