"""Blocks of consecutive batches, and how their images are gathered on the device that trains."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from mlplab.data.augmentation import Distortion
from mlplab.data.datasets import DatasetInfo
from mlplab.randomness import Purpose, derive_many

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W): uint8 as stored, float once transferred; labels (B,) int64
Loader = DataLoader[Batch]
Memory = Callable[[int], Tensor]  # where B images are wanted, (B, C*H*W)
Chunk = tuple[int, Iterable[Tensor], Tensor]  # number of the first batch in its epoch, k images, labels (k, B)

EVAL_BATCH_SIZE = 1000  # forward passes alone are no faster in larger ones
IMAGES_AT_ONCE = 1024  # that are gathered: fewer take longer, more do not stay in the cache of a core


class Block(NamedTuple):
    """Consecutive batches of an epoch. Which images they are depends on the epoch; they are gathered in training."""

    first: int  # number of the first one in the epoch
    length: int  # how many batches


def blocks_of(batches: int, length: int) -> list[Block]:
    """Divide the batches of an epoch into blocks of that length; the last may be shorter."""
    return [Block(first, min(length, batches - first)) for first in range(0, batches, length)]


def counts_batches(trainer: Trainer) -> bool:
    """Tell whether Lightning must see each batch, to limit them, to validate between them, or to end by steps."""
    flags: Any = trainer
    limits = flags.limit_train_batches, flags.val_check_interval
    return bool(
        flags.overfit_batches
        or any(isinstance(n, int) or n != 1.0 for n in limits)
        or flags.min_steps
        or (flags.min_epochs and flags.max_steps >= 0)
    )


@dataclass(frozen=True)
class Scaling:
    """Pixels from 0 to 255, times `factor`, plus `shift` ()."""

    factor: float
    shift: Tensor

    @classmethod
    def of(cls, normalize: str, info: DatasetInfo) -> "Scaling":
        """Make that of "standard" (mean 0, deviation 1), "unit" (0 to 1) or "symmetric" (-1 to 1)."""
        mean, std = {"standard": (info.mean, info.std), "unit": (0.0, 1.0), "symmetric": (0.5, 0.5)}[normalize]
        return cls(1 / (255 * std), torch.tensor(-mean / std, dtype=torch.float64))

    def __call__(self, pixels: Tensor, out: Tensor) -> Tensor:
        return torch.add(self.shift, out.copy_(pixels), alpha=self.factor, out=out)


@dataclass(frozen=True)
class Gathering:
    """Batches of one epoch: `rows` (N,) of images and labels on the device, distorted and scaled."""

    data: Batch
    rows: Tensor
    batch_size: int
    epoch: int
    seed: int
    distortion: Distortion
    scaling: Scaling

    def chunks(self, block: Block, memory: Memory | None) -> Iterator[Chunk]:
        """Yield as many batches of one size at a time as are best gathered together."""
        first, last = block.first, block.first + block.length
        is_short = last * self.batch_size > len(self.rows)
        full, step = last - is_short, max(1, IMAGES_AT_ONCE // self.batch_size)
        for start in [*range(first, full, step), *([full] if is_short else [])]:
            count = min(step, full - start) if start < full else 1
            yield start, *self._gathered(start, count, memory)

    def _gathered(self, first: int, count: int, memory: Memory | None) -> tuple[Iterable[Tensor], Tensor]:
        images, labels = self.data
        rows = self.rows[first * self.batch_size : (first + count) * self.batch_size]
        batches: Iterable[Tensor] = images.index_select(0, rows).unflatten(0, (count, -1)).unbind()  # k x (B, C, H, W)
        size = len(rows) // count
        out = torch.empty(size, *images.shape[1:], device=images.device)
        if memory is not None:
            out = memory(size).view(out.shape)
        if not self.distortion.is_identity:
            seeds = derive_many(first + count, self.seed, Purpose.AUGMENT, self.epoch)[first:]
            batches = (self.distortion(*pair) for pair in zip(batches, seeds, strict=True))
        return (self.scaling(batch, out) for batch in batches), labels[rows].unflatten(0, (count, -1))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor there, without waiting for a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def batches_of(data: Batch, rows: Tensor, size: int) -> Iterator[Batch]:
    """Take some rows of a data set, in batches."""
    images, labels = data
    return ((images[some], labels[some]) for some in rows.split(size))


def loader(batches: Iterable[Any]) -> DataLoader[Any]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]  # a list is a data set
