"""A data set in Lightning: the validation split, batches by index, distortion and normalisation on the device."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

from mlplab import datasets
from mlplab.augment import Distortion
from mlplab.datasets import DatasetInfo, ImageDataset
from mlplab.errors import ConfigError, DataError
from mlplab.randomness import Purpose, derive_many, permutation, seed_tensor

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W): uint8 as stored, float once transferred; labels (B,) int64
NumberedBatch = tuple[Tensor, Tensor, int]  # the same, and which batch of the epoch it is: from 0
Loader = DataLoader[Batch]

EVAL_BATCH_SIZE = 1000  # forward passes alone are no faster in larger ones


class ImageDataModule(LightningDataModule):
    """MNIST, Fashion-MNIST or scikit-learn's digits, as one uint8 tensor on the device that trains.

    `augment` has arguments of `Distortion`: batches to train on, and no others, are distorted after the transfer, each
    by a seed that follows from `seed`, the epoch and the place of the batch in it.

    `setup` reads the files and raises DataError, or ConfigError where `val_size` leaves no training image.
    """

    def __init__(
        self,
        name: str = "mnist",
        root: str = "~/.cache/mlplab",
        val_size: int = 5000,
        split_seed: int = 0,
        batch_size: int = 32,
        normalize: Literal["standard", "unit", "symmetric"] = "standard",
        seed: int = 0,
        augment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if name not in datasets.NAMES:
            raise ValueError(f"`name` must be one of {', '.join(datasets.NAMES)}, got {name!r}")
        if normalize not in ("standard", "unit", "symmetric"):
            raise ValueError(f"`normalize` must be standard, unit or symmetric, got {normalize!r}")
        if "://" in str(root):
            raise ValueError(f"`root` must be a folder, got {root!r}")
        if val_size < 0 or batch_size < 1:
            raise ValueError(f"`val_size` must be at least 0 and `batch_size` 1, got {val_size} and {batch_size}")
        self.distortion = Distortion(**augment or {})
        self.save_hyperparameters(logger=False)
        self.name = name
        self.root = Path(root).expanduser()
        self.val_size = val_size
        self.split_seed = split_seed
        self.batch_size = batch_size
        self.normalize = normalize
        self.seed = seed
        self._seeds: tuple[int, list[int]] = (-1, [])  # an epoch, and the seeds of its batches
        self._dataset: ImageDataset | None = None
        self._info: DatasetInfo | None = None

    @property
    def info(self) -> DatasetInfo:
        """Known after `setup`, or from a checkpoint."""
        assert self._info is not None, "call setup() first"
        return self._info

    def setup(self, stage: str | None = None) -> None:
        if self._dataset is not None:
            return
        self._dataset = datasets.load(str(self.name), self.root)
        if self._info is None:
            self._info = self._dataset.info
        elif (self._info.image_shape, self._info.classes) != (
            self._dataset.info.image_shape,
            self._dataset.info.classes,
        ):
            raise DataError(
                f"{self.root}: images of shape {self._dataset.info.image_shape}, but the network was trained on"
                f" {self._info.image_shape}. Give the folder of its data set."
            )
        images = len(self._dataset.train_images)
        if self.val_size >= images:
            raise ConfigError(
                f"data.val_size: must be at most {images - 1}, {images} training images less one, got {self.val_size}"
            )
        order = permutation(images, self.split_seed, Purpose.SPLIT)
        self.val_rows, self.train_rows = order[: self.val_size], order[self.val_size :]

    def train_dataloader(self) -> Loader:
        dataset = self._of_train(self.train_rows, numbered=not self.distortion.is_identity)
        return _loader(dataset, EpochOrder(len(dataset), self.seed), self.batch_size)

    def epoch_rows(self, epoch: int) -> Tensor:
        """Rows of the training images (see `training_data`), in the order of an epoch; on the CPU."""
        return self.train_rows[EpochOrder(len(self.train_rows), self.seed).permutation(epoch)]

    def training_data(self, device: torch.device) -> Batch:
        """All images (N, C, H, W) uint8 and labels (N,) that training and validation images are rows of."""
        return self._loaded.train_images.to(device), self._loaded.train_labels.to(device)

    def val_dataloader(self) -> Loader | list[Batch]:
        if not self.val_size:
            return []
        dataset = self._of_train(self.val_rows)
        return _loader(dataset, SequentialSampler(dataset), EVAL_BATCH_SIZE)

    def test_dataloader(self) -> Loader:
        images, labels = self._loaded.test_images, self._loaded.test_labels
        dataset = _Rows(images, labels, torch.arange(len(images)), self._device)
        return _loader(dataset, SequentialSampler(dataset), EVAL_BATCH_SIZE)

    def predict_dataloader(self) -> Loader:
        return self.test_dataloader()

    def batches(self, split: str) -> Iterator[Batch]:
        """Normalised images of "train", "val" or "test" and their labels, outside of a Trainer: none is distorted.

        Raises:
            ConfigError: if there are no validation images.
        """
        if split == "val" and not self.val_size:
            raise ConfigError("There are no validation images: the run had data.val_size=0.")
        loaders = {"train": self.train_dataloader, "val": self.val_dataloader, "test": self.test_dataloader}
        for images, labels, *_ in loaders[split]():
            yield self.normalized(images), labels

    def test_data(self) -> Batch:
        """All test images (M, C, H, W) uint8 and their labels (M,), on the CPU."""
        return self._loaded.test_images, self._loaded.test_labels

    def originals(self, split: str) -> Tensor:
        """Images (N, C, H, W) uint8 in the order in which `batches` gives them."""
        if split == "test":
            return self._loaded.test_images
        return self._loaded.train_images[self.val_rows if split == "val" else self.epoch_rows(0)]

    def transfer_batch_to_device(
        self, batch: Batch | NumberedBatch, device: torch.device, dataloader_idx: int
    ) -> Batch | NumberedBatch:
        images, labels, *number = batch
        return (images.to(device), labels.to(device), *number)  # type: ignore[return-value]  # where they are already

    def on_after_batch_transfer(self, batch: Batch | NumberedBatch, dataloader_idx: int) -> Batch:
        images, labels, *number = batch
        if number:
            seeds = self.batch_seeds(self.trainer.current_epoch if self.trainer else 0)
            images = self.distortion(images, seed_tensor(seeds[number[0]], images.device))
        return self.normalized(images), labels

    def batch_seeds(self, epoch: int) -> list[int]:
        """By which the batches of an epoch are distorted, of 32 bits each."""
        if self._seeds[0] != epoch:
            batches = math.ceil(len(self.train_rows) / self.batch_size)
            self._seeds = epoch, derive_many(batches, self.seed, Purpose.AUGMENT, epoch)
        return self._seeds[1]

    def normalized(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) of pixels from 0 to 255 as float32, in the range of `normalize`."""
        if self.normalize == "unit":
            return images / 255
        mean, std = (self.info.mean, self.info.std) if self.normalize == "standard" else (0.5, 0.5)
        return images.mul(1 / (255 * std)).sub_(mean / std)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.info)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._dataset is None:
            self._info = DatasetInfo(**state_dict)

    @property
    def _loaded(self) -> ImageDataset:
        assert self._dataset is not None, "call setup() first"
        return self._dataset

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _of_train(self, rows: Tensor, numbered: bool = False) -> "_Rows":
        return _Rows(self._loaded.train_images, self._loaded.train_labels, rows, self._device, numbered)


class EpochOrder(Sampler[int]):
    """All indices, in an order that follows from the seed and the epoch alone. Lightning calls `set_epoch`."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def permutation(self, epoch: int) -> Tensor:
        """The same as one tensor (size,)."""
        return permutation(self.size, self.seed, Purpose.ORDER, epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(self.permutation(self.epoch).tolist())

    def __len__(self) -> int:
        return self.size


class Batches(BatchSampler):
    """The number of each batch, and its indices as one tensor (B,), not as B numbers.

    Lightning may put in a sampler of its own.
    """

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:  # type: ignore[override]
        sampler = self.sampler
        order = sampler.permutation(sampler.epoch) if isinstance(sampler, EpochOrder) else torch.tensor(list(sampler))
        return enumerate(order.split(self.batch_size))


class _Rows(Dataset[Batch]):
    """Rows of a data set on a device, a whole batch at a time."""

    def __init__(
        self, images: Tensor, labels: Tensor, rows: Tensor, device: torch.device, numbered: bool = False
    ) -> None:
        self.images = images.to(device)
        self.labels = labels.to(device)
        self.rows = rows
        self.numbered = numbered

    def __getitems__(self, batch: tuple[int, Tensor]) -> Batch | NumberedBatch:
        number, indices = batch
        rows = to_device(self.rows[indices], self.images.device)
        images, labels = self.images[rows], self.labels[rows]
        return (images, labels, number) if self.numbered else (images, labels)

    def __len__(self) -> int:
        return len(self.rows)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` there, without waiting for a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _loader(dataset: _Rows, sampler: Sampler[int], batch_size: int) -> Loader:
    batches = Batches(sampler, batch_size, drop_last=False)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
