"""A data set on the CPU, read at its first use, with its validation split and normalisation."""

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlplab.config.datasets import DATASETS
from mlplab.data import datasets
from mlplab.data.blocks import Batch, Scaling
from mlplab.data.datasets import DatasetInfo, ImageDataset
from mlplab.errors import ConfigError, DataError
from mlplab.randomness import Purpose, permutation


class SplitDataset:
    """Training, validation and test images; the arguments are those of `ImageDataModule`."""

    def __init__(self, name: str, root: str, val_size: int, split_seed: int, normalize: str) -> None:
        super().__init__()
        require_one_of("name", name, tuple(DATASETS))
        require_one_of("normalize", normalize, ("standard", "unit", "symmetric"))
        require_whole(0, val_size=val_size, split_seed=split_seed)
        if "://" in root:
            raise ValueError(f"`root` must be a folder, got {root!r}")
        self.name: str | None = name
        self.root = Path(root).expanduser()
        self.val_size, self.split_seed, self.normalize = val_size, split_seed, normalize
        self._info: DatasetInfo | None = None  # from a checkpoint

    @property
    def info(self) -> DatasetInfo:
        """Facts of the data set, from a checkpoint or the files."""
        return self._info or self._loaded.info

    @property
    def train_rows(self) -> Tensor:
        """Rows of the images that are trained on, (N - val_size,)."""
        return self._order[self.val_size :]

    @property
    def val_rows(self) -> Tensor:
        """Rows of the validation images, (val_size,)."""
        return self._order[: self.val_size]

    def setup(self, stage: str | None = None) -> None:
        """Read the files, once."""
        _ = self._loaded

    @cached_property
    def _loaded(self) -> ImageDataset:
        dataset = datasets.load(str(self.name), self.root)
        info, images = self._info or dataset.info, len(dataset.train_images)
        if (info.image_shape, info.classes) != (dataset.info.image_shape, dataset.info.classes):
            raise DataError(
                f"{self.root}: images of shape {dataset.info.image_shape}, but the network was trained on"
                f" {info.image_shape}. Give the folder of its data set."
            )
        if self.val_size >= images:
            raise ConfigError(
                f"data.val_size: must be at most {images - 1}, {images} training images less one, got {self.val_size}"
            )
        return dataset

    @cached_property
    def _order(self) -> Tensor:
        return permutation(len(self._loaded.train_images), self.split_seed, Purpose.SPLIT)

    def test_data(self) -> Batch:
        """All test images (M, C, H, W) uint8 and their labels (M,), on the CPU."""
        return self._loaded.test_images, self._loaded.test_labels

    def normalized(self, images: Tensor) -> Tensor:
        """Scale images (B, C, H, W) of pixels from 0 to 255 to float32, as `normalize` says."""
        return self.scaling(images, torch.empty_like(images, dtype=torch.float32))

    @property
    def scaling(self) -> Scaling:
        """Return the scaling to "standard" (mean 0, deviation 1), "unit" (0 to 1) or "symmetric" (-1 to 1)."""
        of_standard = self.info.mean, self.info.std
        mean, std = {"standard": of_standard, "unit": (0.0, 1.0), "symmetric": (0.5, 0.5)}[self.normalize]
        factor, shift = 1 / (255 * std), torch.tensor(-mean / std, dtype=torch.float64)
        return lambda pixels, out: torch.add(shift, out.copy_(pixels), alpha=factor, out=out)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.info)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "_loaded" not in vars(self):
            self._info = DatasetInfo(**state_dict)


def require_one_of(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"`{argument}` must be one of {', '.join(allowed)}, got {value!r}")


def require_whole(least: int, **values: int) -> None:
    for argument, value in values.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(f"`{argument}` must be an int of at least {least}, got {value!r}")
