"""The IDX format of MNIST: a number for type and dimensions, the lengths, and the values (LeCun, MNIST's home page)."""

import gzip
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlplab.errors import DataError

IMAGES = (0x0803, 0x0804)  # bytes: (N, H, W), or (N, C, H, W)
LABELS = (0x0801, 0x0901, 0x0B01, 0x0C01, 0x0C02)  # integers; if an image has several, the first is its class
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}


def content(path: Path, way_out: str = "") -> npt.NDArray[np.uint8]:
    """Read the bytes of a file, or of its archive; raises DataError, whose text ends with `way_out`."""
    if not path.is_file():  # opening a pipe would block until something writes to it
        raise DataError(f"{path}: not a file.{way_out}")
    try:
        if path.suffix == ".gz":
            return np.frombuffer(bytearray(gzip.decompress(path.read_bytes())), np.uint8)
        return np.fromfile(path, np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.{way_out}") from error


def parse(path: Path, content: npt.NDArray[np.uint8], magics: Sequence[int], way_out: str = "") -> npt.NDArray[Any]:
    """Return the values of a file whose first number (type and dimensions) is one of `magics`.

    Raises:
        DataError: if it is another, or the file is not as long as its header says, or holds no values.
    """
    found, header_size = len(content), 4 * (1 + magics[0] % 256)
    if found < header_size:
        raise DataError(f"{path}: expected a header of {header_size} bytes, found {found} bytes.{way_out}")
    first = int.from_bytes(content[:4].tobytes(), "big")
    if first not in magics:
        expected = " or ".join(map(str, magics))
        raise DataError(f"{path}: expected an IDX file (first number {expected}), found {first}.{way_out}")
    header_size, kind = 4 * (1 + first % 256), np.dtype(TYPES[first >> 8])
    shape = content[4:header_size].tobytes()
    lengths = [int.from_bytes(shape[at : at + 4], "big") for at in range(0, len(shape), 4)]
    expected_size = header_size + prod(lengths) * kind.itemsize
    if found != expected_size or found == header_size:
        items = " x ".join(f"{length:,}" for length in lengths)
        raise DataError(f"{path}: expected {expected_size:,} bytes for {items} items, found {found:,}.{way_out}")
    return content[header_size:].view(kind).reshape(lengths)
