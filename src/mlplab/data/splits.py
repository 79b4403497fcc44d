"""A data set on the CPU, read at its first use, with its validation split and normalisation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from mlplab.config.datasets import OWN, SPLITS, USUAL, Name, Reading, key_of, label
from mlplab.data import datasets, dirty_data, download
from mlplab.data.blocks import EVAL_BATCH_SIZE, Batch, Scaling, batches_of
from mlplab.data.image_dataset import DatasetInfo, ImageDataset
from mlplab.errors import ConfigError, DataError
from mlplab.randomness import Purpose, permutation


class SplitDataset:
    """Training, validation and test images; the arguments are those of `ImageDataModule`."""

    def __init__(
        self,
        name: str,
        root: str,
        val_size: float,
        split_seed: int,
        normalize: str,
        split: str | None = None,
        train_size: int | None = None,
        label_noise: float = 0.0,
        reading: Reading = USUAL,
    ) -> None:
        super().__init__()
        _require_valid(name, split, normalize, label_noise, root)
        require_whole(0, split_seed=split_seed, **({} if 0 <= val_size < 1 else {"val_size": val_size}))
        require_whole(1, **({} if train_size is None else {"train_size": train_size}))
        self.name: str | None = name
        self.key, self.label = key_of(name, split), label(name, split, root)
        self.root = Path(root).expanduser()
        self.split_seed, self.normalize = split_seed, normalize
        self._val_size, self._train_size, self._label_noise = val_size, train_size, label_noise
        self._reading = reading._replace(split_seed=split_seed) if name in OWN else USUAL
        self._info: DatasetInfo | None = None  # from a checkpoint

    @staticmethod
    def of(values: Mapping[str, Any]) -> "SplitDataset":
        """Make a data set from arguments of `ImageDataModule`; those that an earlier version lacked have defaults."""
        of_dataset = {name: values[name] for name in signature(SplitDataset).parameters if name in values}
        of_reading = {name: values[name] for name in Reading._fields if name in values}
        return SplitDataset(**of_dataset, reading=Reading(**of_reading))

    @property
    def info(self) -> DatasetInfo:
        """Facts of the data set, from a checkpoint or the files."""
        return self._info or self._loaded.info

    @cached_property
    def train_rows(self) -> Tensor:
        """Rows of the training images, (N - val_size,) or (train_size,)."""
        rows, size = self._order[self.val_size :], self._train_size
        return dirty_data.balanced(rows, self._loaded.train_labels, self.info.classes, size) if size else rows

    @property
    def val_rows(self) -> Tensor:
        """Rows of the validation images, (val_size,)."""
        return self._order[: self.val_size]

    @property
    def val_size(self) -> int:
        """Number of validation images; a fraction is of the training and validation images together."""
        is_fraction = 0 < self._val_size < 1
        return _val_images(self._val_size, len(self._loaded.train_images)) if is_fraction else int(self._val_size)

    @cached_property
    def train_labels(self) -> Tensor:
        """Labels of all training and validation images, (N,), as trained on: a share `label_noise` is wrong."""
        labels = self._loaded.train_labels
        if not self._label_noise:
            return labels
        return dirty_data.noisy(labels, self.train_rows, len(self.info.classes), self._label_noise, self.split_seed)

    def require_files(self) -> None:
        """Raises DataError if a file is missing, which `setup` would download."""
        if download.missing(self.key, self.root):
            raise DataError(f"{self.root}: the data set {self.label} is not here. Give its folder with --data-root.")

    def setup(self, stage: str | None = None) -> None:
        """Read the files, once."""
        _ = self.train_rows

    @cached_property
    def _loaded(self) -> ImageDataset:
        dataset = datasets.load(self.key, self.root, self._reading)
        _require_same(self.root, self._info or dataset.info, dataset)
        _require_training_images(self._val_size, len(dataset.train_images))
        return dataset

    @cached_property
    def _order(self) -> Tensor:
        return permutation(len(self._loaded.train_images), self.split_seed, Purpose.SPLIT)

    def rows(self, split: str) -> Tensor:
        """Return the numbers of the images of "train", "val" or "test" in the files, in the order of `batches`.

        Raises:
            ConfigError: if there are no validation images.
        """
        if split == "test":
            return torch.arange(len(self._loaded.test_images))
        if split == "val" and not self.val_size:
            raise ConfigError("There are no validation images: the run was trained with data.val_size=0.")
        return self.val_rows if split == "val" else self.train_rows

    def batches(self, split: str) -> Iterator[Batch]:
        """Yield undistorted, normalised images (B, C, H, W) of a split and their labels (B,)."""
        for images, labels in self._stored_batches(split):
            yield self.normalized(images), labels

    def _stored_batches(self, split: str) -> Iterator[Batch]:
        """Yield images (B, C, H, W) uint8 and their labels (B,)."""
        data = self.test_data() if split == "test" else self.train_data()
        return batches_of(data, self.rows(split), EVAL_BATCH_SIZE)

    def originals(self, split: str) -> Tensor:
        """Return images (N, C, H, W) uint8 in the order of `batches`."""
        images, _ = self.test_data() if split == "test" else self.train_data()
        return images[self.rows(split)]

    def train_data(self) -> Batch:
        """All training and validation images (N, C, H, W) uint8 and their true labels (N,), on the CPU."""
        return self._loaded.train_images, self._loaded.train_labels

    def test_data(self) -> Batch:
        """All test images (M, C, H, W) uint8 and their labels (M,), on the CPU."""
        return self._loaded.test_images, self._loaded.test_labels

    def normalized(self, images: Tensor) -> Tensor:
        """Scale images (B, C, H, W) of pixels from 0 to 255 to float32, as `normalize` says."""
        return self.scaling(images, torch.empty_like(images, dtype=torch.float32))

    @property
    def scaling(self) -> Scaling:
        """Return the scaling by `factor_and_shift`, into a given tensor."""
        factor, shift = self.factor_and_shift
        start = torch.tensor(shift, dtype=torch.float64)
        return lambda pixels, out: torch.add(start, out.copy_(pixels), alpha=factor, out=out)

    @property
    def factor_and_shift(self) -> tuple[float, float]:
        """Scale to "standard" (mean 0, deviation 1), "unit" (0 to 1) or "symmetric" (-1 to 1)."""
        of_standard = self.info.mean, self.info.std
        mean, std = {"standard": of_standard, "unit": (0.0, 1.0), "symmetric": (0.5, 0.5)}[self.normalize]
        return 1 / (255 * std), -mean / std

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.info)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "_loaded" not in vars(self):
            self._info = DatasetInfo(**state_dict)


def _require_valid(name: str, split: str | None, normalize: str, label_noise: float, root: str) -> None:
    """Raises ValueError for an argument that is wrong."""
    require_one_of("name", name, get_args(Name))
    if name in SPLITS or split is not None:
        require_one_of("split", str(split), SPLITS.get(name, ("None",)))
    require_one_of("normalize", normalize, ("standard", "unit", "symmetric"))
    if not 0 <= label_noise < 1:
        raise ValueError(f"`label_noise` must be from 0 to below 1, got {label_noise}")
    if "://" in root:
        raise ValueError(f"`root` must be a folder, got {root!r}")


def _require_same(root: Path, info: DatasetInfo, dataset: ImageDataset) -> None:
    """Raises DataError if the images are not those that the network was trained on."""
    found = dataset.info
    if info.image_shape != found.image_shape:
        raise DataError(
            f"{root}: images of shape {found.image_shape}, but the network was trained on {info.image_shape}. Give the"
            " folder of its data set."
        )
    if info.classes != found.classes:
        new = [name for name in found.classes if name not in info.classes]
        gone = [name for name in info.classes if name not in found.classes]
        says = [f"has classes that the network was not trained on: {_some(new)}"] if new else []
        says += [f"lacks classes the network was trained on: {_some(gone)}"] if gone else []
        differ = "; it ".join(says) or "has the classes in a different order than in training"
        raise DataError(f"{root}: {differ}.\nGive the folder of its data set.")
    if info != dataset.info and dataset.is_test_set_aside:
        raise DataError(
            f"{root}: the images differ from those in training, so other ones are set aside for the test.\n"
            "Give the folder as it was, or one with its own test images."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _val_images(val_size: float, images: int) -> int:
    return max(1, round(val_size * images)) if 0 < val_size < 1 else int(val_size)


def _require_training_images(val_size: float, images: int) -> None:
    """Raises ConfigError if the validation images leave none for training."""
    if (validated := _val_images(val_size, images)) >= images:
        got = f"{val_size}" if validated == val_size else f"{val_size} of them, {validated}"
        raise ConfigError(f"data.val_size: must be at most {images - 1}, one less than the {images} images, got {got}")


def require_all_classes(dataset: SplitDataset) -> None:
    """Raises DataError if own data have a class whose images are all for validation, which could not be learned."""
    if dataset.key not in OWN:
        return
    labels, classes = dataset.train_data()[1], dataset.info.classes
    validated = labels[dataset.val_rows].bincount(minlength=len(classes))
    all_are = (validated == labels.bincount(minlength=len(classes))).tolist()
    if lacking := [name for name, is_lacking in zip(classes, all_are, strict=True) if is_lacking]:
        raise DataError(
            f"{dataset.root}: all images of the class {_some(lacking)} are among the {dataset.val_size} for validation,"
            f" so none is left for training.\nGive more of them, a data.split_seed other than {dataset.split_seed}, or"
            " a smaller data.val_size."
        )


def require_one_of(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"`{argument}` must be one of {', '.join(allowed)}, got {value!r}")


def require_whole(least: int, **values: float) -> None:
    for argument, value in values.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(f"`{argument}` must be an int of at least {least}, got {value!r}")
