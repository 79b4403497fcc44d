"""Reads any data set into memory."""

import gzip
import zlib
from importlib.util import find_spec
from pathlib import Path

import torch

from mlplab.config.datasets import DATASETS, IDX_DATASETS, OWN, USUAL, Reading
from mlplab.data.image_dataset import ImageDataset, measured
from mlplab.errors import DataError

_kept: dict[tuple[str, Path, Reading], ImageDataset] = {}


def keep(name: str, root: Path, reading: Reading = USUAL) -> None:
    """Load a data set once for this process and its forks, which share its memory.

    Raises:
        DataError: as `load` does.
    """
    _kept[name, root.absolute(), reading] = load(name, root, reading)


def load(name: str, root: Path, reading: Reading = USUAL) -> ImageDataset:
    """Read a data set of DATASETS from `root`, where it is downloaded if missing, or own data at `root`.

    Raises:
        DataError: if a file is missing and cannot be fetched, or is damaged.
    """
    if (name, root.absolute(), reading) in _kept:
        return _kept[name, root.absolute(), reading]
    if name == "digits":
        return _digits()
    if name in OWN:
        from mlplab.data.own import own_data  # which needs SciPy and Pillow, for pictures

        return own_data.load(name, root, reading)
    from mlplab.data import torchvision_sets

    return torchvision_sets.load(IDX_DATASETS[name], root)


def _digits() -> ImageDataset:
    """Read 1,797 digits of 8 x 8 pixels; every fifth image is for the test, because there is no official split.

    Importing scikit-learn's `load_digits` would take a second, because of SciPy's statistics.
    """
    package = find_spec("sklearn")  # located without importing it
    if package is None or package.origin is None:
        raise DataError(f"The digits come with scikit-learn, which is not installed.{_INSTALL}")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:  # 64 pixels and the label in each line
        lines = gzip.decompress(path.read_bytes()).splitlines()
        rows = torch.tensor([[int(number) for number in line.split(b",")] for line in lines]).view(1797, 65)
    except (OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: missing or damaged: {error}.{_INSTALL}") from error
    images, labels = rows[:, :64].view(-1, 1, 8, 8), rows[:, 64]  # (N, 65) -> (N, 1, 8, 8), (N,)
    images = images.mul(255 / 16).round().to(torch.uint8)  # 17 grey levels, scaled to the range of the other data sets
    test = torch.arange(len(images)) % 5 == 0
    info = measured(images[~test], DATASETS["digits"])
    return ImageDataset(images[~test], labels[~test], images[test], labels[test], info)


_INSTALL = "\nReinstall scikit-learn: pip install --force-reinstall scikit-learn."
