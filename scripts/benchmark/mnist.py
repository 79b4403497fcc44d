"""MNIST as numpy arrays, for contestants without torch."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np


def data_root() -> Path:
    return Path(os.environ.get("MLPLAB_DATA", "~/.cache/mlplab")).expanduser()


def arrays() -> Any:
    """Return training images in random order, and test images, as floats from 0 to 1, with their labels."""
    train, test = (
        (
            _read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784).astype("float32") / 255,
            _read(f"{part}-labels-idx1-ubyte", 8),
        )
        for part in ("train", "t10k")
    )
    order = np.random.default_rng().permutation(60_000)
    return [(train[0][order], train[1][order]), test]


def _read(name: str, header: int) -> Any:
    file = data_root() / "MNIST" / "raw" / name
    content = file.read_bytes() if file.exists() else gzip.decompress(Path(f"{file}.gz").read_bytes())
    return np.frombuffer(content, dtype=np.uint8, offset=header)
