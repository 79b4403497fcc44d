"""Finds the files of a data set, and makes torchvision's download safe.

Only one process downloads at a time, with a time-out, and a file is stored only when complete.
"""

import gzip
import hashlib
import os
import shutil
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from mlplab.config import torch_signatures
from mlplab.config.datasets import IDX_DATASETS, OWN
from mlplab.errors import DataError
from mlplab.runs import atomic_write

if TYPE_CHECKING:  # takes a second, and few runs download anything
    from torchvision.datasets import MNIST

# A mirror that does not answer within this time is given up; MNIST has two mirrors.
TIMEOUT_S = 7.0


def require(name: str, root: Path) -> None:
    """Check, without torch, that each file of a data set (see `key_of`) has a local copy or can be downloaded.

    Raises:
        DataError: if neither is the case, or there is nothing at the `root` of own data.
    """
    if name in OWN and not root.expanduser().exists():
        raise DataError(f"{root}: does not exist.\nName the folder or file of your data with data.root=...")
    if files := missing(name, root):
        dataset = IDX_DATASETS[name].dataset
        if reason := _unreachable(torch_signatures.addresses(dataset, files[0])):
            raise _not_there(root.expanduser() / dataset / "raw", files, reason, dataset)


def missing(name: str, root: Path) -> list[str]:
    """Return the files of a data set without a local copy, which `datasets.load` would download."""
    if name not in IDX_DATASETS:
        return []
    source, root = IDX_DATASETS[name], root.expanduser()
    try:
        return [
            file
            for file in source.files
            if not any(
                is_own or _has(path, source.sha256.get(file)) for path, is_own in copies(root, source.dataset, file)
            )
        ]
    except OSError:  # a folder without permission: `datasets.load` reports it
        return []


def _has(path: Path, sha256: str | None) -> bool:
    """Tell whether a file, or its decompressed content, has this checksum."""
    try:
        if not path.is_file():  # to open a pipe would wait for who writes to it
            return False
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except (OSError, EOFError, zlib.error):
        return False


def _unreachable(addresses: Sequence[str]) -> str | None:
    """Return why a file is unavailable at all of its addresses; None if one has it."""
    reason = None
    for address in addresses:
        try:
            with urlopen(Request(address, method="HEAD"), timeout=TIMEOUT_S):
                return None
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and error.code == 405:  # it does not support HEAD requests
                return None
            reason = _reason(error)
    return reason


def _not_there(folder: Path, files: Sequence[str], reason: str, dataset: str) -> DataError:
    addresses = torch_signatures.addresses(dataset, files[0])
    places = [address if address.endswith(".zip") else f"{address.rpartition('/')[0]}/" for address in addresses]
    return DataError(
        f"{folder}: {', '.join(files)}\n"
        f"are missing, and could not be downloaded: {reason}\n"
        f"Put them into that folder, compressed or not: {files[0]}.gz ... are at {' and '.join(places)}\n"
        "Or name a folder that contains them with data.root=... or MLPLAB_DATA. data=digits needs no download."
    )


def copies(root: Path, dataset: str, file: str) -> Iterator[tuple[Path, bool]]:
    """Yield the usual paths of a file or its archive, the likeliest first.

    Each comes with True in a folder of this data set, and with False in one that may hold another.

    Raises:
        OSError: if a folder of this data set cannot be searched.
    """
    own = [root / dataset / "raw", root / dataset]
    if root.name == dataset:  # the path is too long
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


def fetch(
    dataset: "type[MNIST]", root: Path, files: Sequence[str], downloads: Sequence[Mapping[str, Any]] = ({},)
) -> None:
    """Download the missing `files` into torchvision's folder of the data set.

    `downloads` holds the arguments of the class for each call. Other files of an archive are kept, too: EMNIST has one
    archive for all splits.

    Raises:
        DataError: if there is no network, or the folder cannot be written.
    """
    name = dataset.__name__
    folder = root / name / "raw"
    scratch = root / f".{name}.download"
    made = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]  # deepest first

    timeout = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write.lock(root / f".{name}.lock", timeout=-1):
            missing = [file for file in files if not (folder / file).exists()]
            if not missing:
                return  # another process has just downloaded them
            shutil.rmtree(scratch, ignore_errors=True)  # left by a killed process
            (scratch / name / "raw").mkdir(parents=True)
            try:
                socket.setdefaulttimeout(TIMEOUT_S)  # torchvision sets no time-out
                for arguments in downloads:
                    dataset(scratch, download=True, **arguments)
                for file in missing:
                    (scratch / name / "raw" / file).replace(folder / file)
                for path in (scratch / name / "raw").glob("*-ubyte"):
                    if not (folder / path.name).exists():
                        path.replace(folder / path.name)
            finally:
                socket.setdefaulttimeout(timeout)
                shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, RuntimeError, HTTPException) as error:
        if root in made:
            (root / f".{name}.lock").unlink(missing_ok=True)
        for place in made:
            with suppress(OSError):  # a folder that is not empty
                place.rmdir()
        left = [file for file in files if not (folder / file).exists()]
        raise _not_there(folder, left, _reason(error), name) from error


def _reason(error: Exception) -> str:
    """Return the last line; torchvision lists every mirror it tried above it."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
