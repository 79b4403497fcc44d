"""Random numbers of dropout and noise, as a function of seed, epoch and step."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from mlplab.model.layers import Autograd, Dropout, Layer, Noise
from mlplab.randomness import ALIGNMENT, Purpose, derive_many, random_bytes, seed_generator


def draw(layers: Sequence[Layer], batch_size: int, seed: int, epoch: int, first: int, count: int) -> Iterator[None]:
    """Write random numbers of `count` steps into the layers, one step at each `next`.

    Args:
        layers: for batches of one size.
        batch_size: the usual size; the numbers depend on it, as on seed, epoch and step.
        first: the number of the first step in the epoch.
    """
    masks = _masks([layer for layer in layers if isinstance(layer, Dropout)], batch_size, seed, epoch, first, count)
    noises = [layer.drawn for layer in layers if isinstance(layer, Noise)]
    is_global, device = may_draw_globally(layers), layers[0].features.device
    generator = torch.Generator(device)
    seeds = derive_many(first + count, seed, Purpose.DROPOUT, epoch)[first:] if noises or is_global else []
    for number in range(count):
        for drawn, kept in masks:
            drawn.copy_(kept[number])
        if noises:
            generator.manual_seed(seeds[number])
        for drawn in noises:
            drawn.normal_(generator=generator)
        if is_global:
            seed_generator(device, seeds[number])
        yield


def may_draw_globally(layers: Sequence[Layer]) -> bool:
    """Tell whether one of the layers may draw from torch's global generator."""
    return any(isinstance(layer, Autograd) for layer in layers)


def _masks(
    layers: Sequence[Dropout], batch_size: int, seed: int, epoch: int, first: int, count: int
) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    """Draw masks; yield for each layer its buffer and a mask for each step, True for a unit that is kept."""
    if not layers:
        return []
    rows = [batch_size * layer.drawn.shape[1] * layer.type.itemsize for layer in layers]
    ends = list(accumulate(-(-row // ALIGNMENT) * ALIGNMENT for row in rows))
    stream = random_bytes(seed, Purpose.DROPOUT, epoch, first * ends[-1], count * ends[-1]).reshape(count, ends[-1])
    masks = []
    for layer, begin in zip(layers, [0, *ends], strict=False):
        numbers = stream[:, begin : begin + layer.drawn.numel() * layer.type.itemsize].view(layer.type)
        kept = torch.from_numpy(numbers >= layer.dropped).to(layer.drawn.device)
        masks.append((layer.drawn, kept.view(count, *layer.drawn.shape).unbind()))
    return masks
