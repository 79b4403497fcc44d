"""Blocks of consecutive batches, and gathering of their images on the training device."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

if TYPE_CHECKING:  # takes a second, and predictions do not need it
    from lightning.pytorch import Trainer

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W): uint8 as stored, float once transferred; labels (B,) int64
Loader = DataLoader[Batch]
Memory = Callable[[int], Tensor]  # where B images are wanted, (B, C*H*W)
Scaling = Callable[[Tensor, Tensor], Tensor]  # of pixels from 0 to 255, into a tensor of floats
Chunk = tuple[int, Iterable[Tensor], Tensor]  # number of the first batch in its epoch, k images, labels (k, B)

EVAL_BATCH_SIZE = 1000  # forward passes alone are no faster in larger ones
IMAGES_AT_ONCE = 1024  # that are gathered: fewer take longer, more do not stay in the cache of a core


class Block(NamedTuple):
    """Consecutive batches of an epoch. The epoch determines their images, which are gathered during training."""

    first: int  # number of the first one in the epoch
    length: int  # how many batches


def counts_batches(trainer: "Trainer") -> bool:
    """Tell whether Lightning must see each batch, to limit them, to validate between them, or to stop after some."""
    flags: Any = trainer
    limits = flags.limit_train_batches, flags.val_check_interval
    return bool(
        flags.overfit_batches
        or any(isinstance(n, int) or n != 1.0 for n in limits)
        or flags.min_steps
        or (flags.min_epochs and flags.max_steps >= 0)
    )


def chunks_of(block: Block, batch_size: int, images: int) -> Iterator[tuple[int, int]]:
    """Split a block of an epoch of `images` into chunks of equal-sized batches that are gathered together.

    Yields:
        The number of the first batch in the epoch, and the number of batches.
    """
    last = block.first + block.length
    is_short = last * batch_size > images
    full, step = last - is_short, max(1, IMAGES_AT_ONCE // batch_size)
    for first in range(block.first, full, step):
        yield first, min(step, full - first)
    if is_short:
        yield full, 1


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device, without waiting for a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def batches_of(data: Batch, rows: Tensor, size: int) -> Iterator[Batch]:
    """Yield some rows of a data set, in batches."""
    images, labels = data
    return ((images[some], labels[some]) for some in rows.split(size))


def loader(batches: Iterable[Any]) -> DataLoader[Any]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]  # a list is a data set
