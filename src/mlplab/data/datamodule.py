"""A data set in Lightning: the validation split, batches by index, distortion and normalisation on the device."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlplab.config.datasets import DATASETS
from mlplab.data import datasets
from mlplab.data.augmentation import Distortion
from mlplab.data.datasets import DatasetInfo, ImageDataset
from mlplab.errors import ConfigError, DataError
from mlplab.randomness import Purpose, derive_many, permutation

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W): uint8 as stored, float once transferred; labels (B,) int64
Loader = DataLoader[Batch]

EVAL_BATCH_SIZE = 1000  # forward passes alone are no faster in larger ones
IMAGES_AT_ONCE = 1024  # that are gathered: fewer take longer, more do not stay in the cache of a core


class Block(NamedTuple):
    """Consecutive batches of an epoch. Which images they are depends on the epoch; they are gathered in training."""

    first: int  # number of the first one in the epoch
    length: int  # how many batches


class ImageDataModule(LightningDataModule):
    """MNIST, Fashion-MNIST or scikit-learn's digits, as one uint8 tensor on the device that trains.

    `augment` has arguments of `Distortion`: batches to train on, and no others, are distorted, each by a seed that
    follows from `seed`, the epoch and the place of the batch in it.

    A module that has `batches_per_block`, as `Classifier` does, is given a `Block` to train on; any other, images and
    labels. A tensor that is no batch, such as an input to export a network with, is not normalised.

    `setup`, or the first use, reads the files and raises DataError, or ConfigError where `val_size` leaves no training
    image.

    Args:
        root: folder of the data sets; by default `$MLPLAB_DATA`, or ~/.cache/mlplab.
        val_size: training images set aside for validation; by default 5,000, of the digits 200.
    """

    def __init__(
        self,
        name: str = "mnist",
        root: str | Path | None = None,
        val_size: int | None = None,
        split_seed: int = 0,
        batch_size: int = 32,
        normalize: Literal["standard", "unit", "symmetric"] = "standard",
        seed: int = 0,
        augment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if name not in DATASETS:
            raise ValueError(f"`name` must be one of {', '.join(DATASETS)}, got {name!r}")
        if normalize not in ("standard", "unit", "symmetric"):
            raise ValueError(f"`normalize` must be standard, unit or symmetric, got {normalize!r}")
        root = root or os.environ.get("MLPLAB_DATA") or "~/.cache/mlplab"
        if not isinstance(root, str | Path) or "://" in str(root):
            raise ValueError(f"`root` must be a folder, got {root!r}")
        root = str(root)
        val_size = DATASETS[name].val_size if val_size is None else val_size
        least = {"val_size": 0, "split_seed": 0, "batch_size": 1, "seed": 0}
        for argument, value in zip(least, (val_size, split_seed, batch_size, seed), strict=True):
            if not isinstance(value, int) or value < least[argument]:
                raise ValueError(f"`{argument}` must be an int of at least {least[argument]}, got {value!r}")
        self.distortion = Distortion(**augment or {})
        self.save_hyperparameters(logger=False)
        self.name = name
        self.root = Path(root).expanduser()
        self.val_size = val_size
        self.split_seed = split_seed
        self.batch_size = batch_size
        self.normalize = normalize
        self.seed = seed
        self._rows: tuple[int, Tensor] | None = None  # an epoch, and the order of its images on the device
        self._data: Batch | None = None  # to train on, on the device
        self._dataset: ImageDataset | None = None
        self._info: DatasetInfo | None = None

    @property
    def info(self) -> DatasetInfo:
        """From a checkpoint, or of the files."""
        if self._info is None:
            self.setup()
            assert self._info is not None
        return self._info

    @property
    def train_rows(self) -> Tensor:
        """Which training images are trained on, (N - val_size,)."""
        self.setup()
        return self._order[self.val_size :]

    @property
    def val_rows(self) -> Tensor:
        """Which of them validate, (val_size,)."""
        self.setup()
        return self._order[: self.val_size]

    def setup(self, stage: str | None = None) -> None:
        if self._dataset is not None:
            return
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
        self._order = permutation(images, self.split_seed, Purpose.SPLIT)
        self._dataset, self._info = dataset, info

    def train_dataloader(self) -> "DataLoader[Block] | Loader":
        blocks = [
            Block(first, min(self.batches_per_block, self.batches_per_epoch - first))
            for first in range(0, self.batches_per_epoch, self.batches_per_block)
        ]
        return DataLoader(_Training(self, blocks), batch_size=None)

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.train_rows) / self.batch_size)

    @property
    def batches_per_block(self) -> int:
        """1 where Lightning must count batches: to limit them, to validate between them, to end by steps and epochs."""
        trainer: Any = self.trainer
        if trainer is None or not self._gives_blocks or trainer.overfit_batches:
            return 1
        if any(isinstance(n, int) or n != 1.0 for n in (trainer.limit_train_batches, trainer.val_check_interval)):
            return 1
        if trainer.min_steps or (trainer.min_epochs and trainer.max_steps >= 0):
            return 1
        return int(trainer.lightning_module.batches_per_block(self.batch_size))

    def epoch_rows(self, epoch: int) -> Tensor:
        """Rows of the training images (see `training_data`), in the order of an epoch, on the device."""
        if getattr(self.trainer, "overfit_batches", 0):
            epoch = 0
        if self._rows is None or self._rows[0] != epoch:
            order = permutation(len(self.train_rows), self.seed, Purpose.ORDER, epoch)
            self._rows = epoch, to_device(self.train_rows[order], self._device)
        return self._rows[1]

    def training_data(self, device: torch.device) -> Batch:
        """All images (N, C, H, W) uint8 and labels (N,) that training and validation images are rows of."""
        if self._data is None or self._data[0].device != device:
            self._data = self._loaded.train_images.to(device), self._loaded.train_labels.to(device)
        return self._data

    def chunks(
        self, block: Block, epoch: int, memory: Callable[[int], Tensor] | None = None
    ) -> Iterator[tuple[int, Iterable[Tensor], Tensor]]:
        """Of a block, as many batches of one size at a time as are best gathered together.

        Yields the number of the first one in the epoch, images ready to be trained on, k times (B, C, H, W), and labels
        (k, B). The images come one after the other in the same memory: of `memory(B)`, (B, C*H*W), if that is given.
        """
        first, last = block.first, block.first + block.length
        is_short = last == self.batches_per_epoch and len(self.train_rows) % self.batch_size
        full, step = last - bool(is_short), max(1, IMAGES_AT_ONCE // self.batch_size)
        for start in [*range(first, full, step), *([full] if is_short else [])]:
            count = min(step, full - start) if start < full else 1
            yield start, *self._gathered(epoch, start, count, memory)

    def _gathered(
        self, epoch: int, first: int, count: int, memory: Callable[[int], Tensor] | None
    ) -> tuple[Iterable[Tensor], Tensor]:
        images, labels = self.training_data(self._device)
        rows = self.epoch_rows(epoch)[first * self.batch_size : (first + count) * self.batch_size]
        pixels = images.index_select(0, rows).unflatten(0, (count, -1)).unbind()  # k times (B, C, H, W)
        out = torch.empty_like(pixels[0], dtype=torch.float32)
        if memory is not None:
            out = memory(len(out)).view(out.shape)
        factor, shift = self._scaling
        distorted: Iterable[Tensor] = pixels
        if not self.distortion.is_identity:
            seeds = derive_many(first + count, self.seed, Purpose.AUGMENT, epoch)[first:]
            distorted = (self.distortion(*pair) for pair in zip(pixels, seeds, strict=True))
        batches = (_scaled(batch, out, factor, shift) for batch in distorted)
        return batches, labels[rows].unflatten(0, (count, -1))

    def val_dataloader(self) -> Loader | list[Batch]:
        if not self.val_size:
            return []
        return _in_order(*self.training_data(self._device), to_device(self.val_rows, self._device))

    def test_dataloader(self) -> Loader:
        images, labels = (part.to(self._device) for part in self.test_data())
        return _in_order(images, labels, torch.arange(len(images), device=self._device))

    def predict_dataloader(self) -> Loader:
        return self.test_dataloader()

    def batches(self, split: str) -> Iterator[Batch]:
        """Normalised images of "train", "val" or "test" and their labels; none is distorted.

        Raises:
            ConfigError: if there are no validation images.
        """
        if split == "val" and not self.val_size:
            raise ConfigError("There are no validation images: the run had data.val_size=0.")
        loaders = {"train": self._first_epoch, "val": self.val_dataloader, "test": self.test_dataloader}
        for images, labels in loaders[split]():
            yield self.normalized(images), labels

    def _first_epoch(self) -> Iterator[Batch]:
        images, labels = self.training_data(self._device)
        for rows in self.epoch_rows(0).split(self.batch_size):
            yield images[rows], labels[rows]

    def test_data(self) -> Batch:
        """All test images (M, C, H, W) uint8 and their labels (M,), on the CPU."""
        return self._loaded.test_images, self._loaded.test_labels

    def originals(self, split: str) -> Tensor:
        """Images (N, C, H, W) uint8 in the order in which `batches` gives them."""
        if split == "test":
            return self._loaded.test_images
        return self._loaded.train_images[self.val_rows if split == "val" else self.epoch_rows(0)]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        if isinstance(batch, Tensor):
            return batch.to(device)
        return batch if isinstance(batch, Block) else tuple(part.to(device) for part in batch)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, Tensor) or (isinstance(batch, Block) and self._gives_blocks):
            return batch
        if not isinstance(batch, Block):
            return self.normalized(batch[0]), batch[1]
        assert self.trainer is not None
        (_, (images,), (labels,)), *_ = self.chunks(batch, self.trainer.current_epoch)
        return images, labels

    def normalized(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) of pixels from 0 to 255 as float32 in the range of `normalize`."""
        return _scaled(images, torch.empty_like(images, dtype=torch.float32), *self._scaling)

    @property
    def _scaling(self) -> tuple[float, Tensor]:
        """The factor of a pixel, and what is added after that, ()."""
        mean, std = self.info.mean, self.info.std
        if self.normalize != "standard":
            mean, std = (0.0, 1.0) if self.normalize == "unit" else (0.5, 0.5)
        return 1 / (255 * std), torch.tensor(-mean / std, dtype=torch.float64)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.info)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._dataset is None:
            self._info = DatasetInfo(**state_dict)

    @property
    def _loaded(self) -> ImageDataset:
        self.setup()
        assert self._dataset is not None
        return self._dataset

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def _gives_blocks(self) -> bool:
        return self.trainer is not None and hasattr(self.trainer.lightning_module, "batches_per_block")


class _Training(Dataset[Any]):
    """Blocks, or without a trainer images (B, C, H, W) uint8 and labels (B,) of the first epoch."""

    def __init__(self, datamodule: ImageDataModule, blocks: list[Block]) -> None:
        self.datamodule, self.blocks = datamodule, blocks

    def __getitem__(self, index: int) -> Block | Batch:
        datamodule, block = self.datamodule, self.blocks[index]
        if datamodule.trainer is not None:
            return block
        images, labels = datamodule.training_data(torch.device("cpu"))
        rows = datamodule.epoch_rows(0).split(datamodule.batch_size)[block.first]
        return images[rows], labels[rows]

    def __len__(self) -> int:
        return len(self.blocks)


def _scaled(pixels: Tensor, out: Tensor, factor: float, shift: Tensor) -> Tensor:
    return torch.add(shift, out.copy_(pixels), alpha=factor, out=out)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` there, without waiting for a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _in_order(images: Tensor, labels: Tensor, rows: Tensor) -> Loader:
    """Batches of some rows of a data set."""
    parts = [(images[some], labels[some]) for some in rows.split(EVAL_BATCH_SIZE)]
    return DataLoader(parts, batch_size=None)  # type: ignore[arg-type]  # a list is a data set
