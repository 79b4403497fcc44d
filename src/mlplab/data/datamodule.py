"""Lightning data module: validation split, batches by index, distortion and normalisation on the device."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from mlplab.config.datasets import DATASETS, OWN_VAL_SIZE, Reading, key_of
from mlplab.data import blocks
from mlplab.data.augmentation import Distortion
from mlplab.data.blocks import Batch, Block, Chunk, Loader, Memory
from mlplab.data.splits import SplitDataset, require_whole
from mlplab.randomness import Purpose, derive_many, permutation


class ImageDataModule(SplitDataset, LightningDataModule):
    """A data set, such as MNIST or a folder of pictures, as one uint8 tensor on the training device.

    A module with `batches_per_block`, such as `Classifier`, is given `Block`s to train on; any other module is given
    images and labels. `setup`, or the first use, reads the files; it raises DataError, or ConfigError if `val_size`
    leaves no training images.

    Args:
        name: a data set, or the layout of your own data: folder, csv or idx.
        root: folder of the data sets, by default `$MLPLAB_DATA` or ~/.cache/mlplab; for own data, their folder or file.
        val_size: training images set aside for validation, or a fraction of them; by default 5,000 of MNIST, 200 of
            the digits, a tenth of own data.
        split: split of emnist or qmnist.
        train_size: training images, equally many of each class; by default all that are not set aside.
        label_noise: share of the training labels replaced by other classes.
        prepare, label_column, test_size: how own data are read, see the schema.
        augment: arguments of `Distortion`, for training images only. Each batch is distorted with a seed that follows
            from `seed`, the epoch and the position of the batch in it.
    """

    def __init__(
        self,
        name: str = "mnist",
        root: str | Path | None = None,
        val_size: float | None = None,
        split_seed: int = 0,
        batch_size: int = 32,
        normalize: Literal["standard", "unit", "symmetric"] = "standard",
        seed: int = 0,
        augment: Mapping[str, Any] | None = None,
        split: str | None = None,
        train_size: int | None = None,
        label_noise: float = 0.0,
        prepare: Literal["mnist", "fashion", "none"] = "mnist",
        label_column: Literal["auto", "first", "last"] = "auto",
        test_size: float = 0.2,
    ) -> None:
        root = str(root or os.environ.get("MLPLAB_DATA") or "~/.cache/mlplab")
        facts = DATASETS.get(key_of(name, split))
        val_size = (facts.val_size if facts else OWN_VAL_SIZE) if val_size is None else val_size
        reading = Reading(prepare, label_column, test_size)
        super().__init__(name, root, val_size, split_seed, normalize, split, train_size, label_noise, reading)
        require_whole(0, seed=seed)
        require_whole(1, batch_size=batch_size)
        self.distortion = Distortion(**augment or {})
        self.save_hyperparameters(logger=False)
        self.batch_size, self.seed = batch_size, seed
        self._rows: tuple[int, Tensor] | None = None  # an epoch, and the order of its images on the device
        self._data: Batch | None = None  # to train on, on the device

    def train_dataloader(self) -> Loader:
        """Load blocks; without a Trainer, images (B, C, H, W) uint8 and labels (B,) of the first epoch."""
        if self.trainer is None:
            return blocks.loader(self._stored_batches("train"))
        batches, length = self.batches_per_epoch, self.batches_per_block
        return blocks.loader(Block(first, min(length, batches - first)) for first in range(0, batches, length))

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.train_rows) / self.batch_size)

    @property
    def batches_per_block(self) -> int:
        if self.trainer is None or not self._gives_blocks or blocks.counts_batches(self.trainer):
            return 1
        module: Any = self.trainer.lightning_module
        return int(module.batches_per_block(self.batch_size))

    def epoch_rows(self, epoch: int) -> Tensor:
        """Return the rows of the training images (see `training_data`), in the order of an epoch, on the device."""
        if getattr(self.trainer, "overfit_batches", 0):
            epoch = 0
        if self._rows is None or self._rows[0] != epoch:
            order = permutation(len(self.train_rows), self.seed, Purpose.ORDER, epoch)
            self._rows = epoch, blocks.to_device(self.train_rows[order], self._device)
        return self._rows[1]

    def training_data(self, device: torch.device) -> Batch:
        """All training and validation images (N, C, H, W) uint8 and labels (N,), some wrong with `label_noise`."""
        if self._data is None or self._data[0].device != device:
            images, _ = self.train_data()
            self._data = images.to(device), self.train_labels.to(device)
        return self._data

    def chunks(self, block: Block, epoch: int, memory: Memory | None = None) -> Iterator[Chunk]:
        """Gather the batches of a block, ready for training.

        Successive images are written to the same memory: to `memory(B)`, (B, C*H*W), if that is given.
        """
        (images, labels), rows = self.training_data(self._device), self.epoch_rows(epoch)
        for first, count in blocks.chunks_of(block, self.batch_size, len(rows)):
            some = rows[first * self.batch_size : (first + count) * self.batch_size]
            batches = images.index_select(0, some).unflatten(0, (count, -1))  # (k, B, C, H, W)
            seeds = derive_many(first + count, self.seed, Purpose.AUGMENT, epoch)[first:]
            yield first, self._prepared(batches, seeds, memory), labels[some].unflatten(0, (count, -1))

    def _prepared(self, batches: Tensor, seeds: Sequence[int], memory: Memory | None) -> Iterator[Tensor]:
        out = torch.empty(batches.shape[1:], device=batches.device)
        if memory is not None:
            out = memory(len(out)).view(out.shape)
        scaling = self.scaling
        return (scaling(self.distortion(*pair), out) for pair in zip(batches.unbind(), seeds, strict=True))

    def val_dataloader(self) -> Loader | list[Batch]:
        if not self.val_size:
            return []
        return blocks.loader(self._stored_batches("val"))

    def test_dataloader(self) -> Loader:
        return blocks.loader(self._stored_batches("test"))

    predict_dataloader = test_dataloader

    def rows(self, split: str) -> Tensor:
        """Return the numbers of the images of a split; those of the training images in the order of the first epoch."""
        return self.epoch_rows(0).cpu() if split == "train" else super().rows(split)

    def _stored_batches(self, split: str) -> Iterator[Batch]:
        images, labels = self.test_data() if split == "test" else self.training_data(self._device)
        data = images.to(self._device), labels.to(self._device)
        rows = blocks.to_device(self.rows(split), self._device)
        return blocks.batches_of(data, rows, self.batch_size if split == "train" else blocks.EVAL_BATCH_SIZE)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, Tensor) or (isinstance(batch, Block) and self._gives_blocks):
            return batch
        if not isinstance(batch, Block):
            return self.normalized(batch[0]), batch[1]
        assert self.trainer is not None
        (_, (images,), (labels,)), *_ = self.chunks(batch, self.trainer.current_epoch)
        return images, labels

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def _gives_blocks(self) -> bool:
        return self.trainer is not None and hasattr(self.trainer.lightning_module, "batches_per_block")
