"""Random numbers as a function of (seed, purpose, index), so that no state has to be saved."""

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """Keeps streams of the same seed apart. The values are part of every published figure."""

    SPLIT = 0
    WEIGHTS = 1
    ORDER = 2
    DROPOUT = 3  # and noise
    AUGMENT = 4
    MIXUP = 5


def derive(seed: int, purpose: Purpose, index: int = 0) -> int:
    """A seed of 32 bits: torch's generator on the CPU reads no more, so the parts are hashed, not concatenated."""
    return derive_many(1, seed, purpose, index)[0]


def derive_many(count: int, seed: int, purpose: Purpose, index: int = 0) -> list[int]:
    """`count` seeds of 32 bits; more of them begin with the same ones."""
    return [int(value) for value in np.random.SeedSequence((seed, int(purpose), index)).generate_state(count)]


def permutation(size: int, seed: int, purpose: Purpose, index: int = 0) -> Tensor:
    """The numbers from 0 to size - 1 in random order, int64 of shape (size,)."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive(seed, purpose, index)))


def seed_generator(device: torch.device, seed: int) -> None:
    """Seed the global generator of one device; `torch.manual_seed` asks every backend and takes 60 times as long."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    elif device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    else:
        torch.manual_seed(seed)


def seed_tensor(seed: int, device: torch.device) -> Tensor:
    """A seed of 32 bits as int32 of shape (), for what is below."""
    return torch.tensor(_int32(seed), dtype=torch.int32, device=device)


def bits(shape: Sequence[int], seed: Tensor, place: int) -> Tensor:
    """Random numbers from 0 to 2^31 - 1, int32, by a hash of seed, place and index: for graphs, which keep no state.

    The hash is lowbias32 of Chris Wellons' hash-prospector.

    Args:
        shape: of the numbers, all of one tensor of fewer than 2^31.
        seed: int32 of shape ().
        place: tells apart what is drawn with one seed.
    """
    index = torch.arange(math.prod(shape), dtype=torch.int32, device=seed.device).view(tuple(shape))
    h = index + (seed + _int32(place * 0x9E3779B9))
    h = (h ^ _shifted(h, 16)) * _int32(0x7FEB352D)
    h = (h ^ _shifted(h, 15)) * _int32(0x846CA68B)
    return (h ^ _shifted(h, 16)) & 0x7FFFFFFF


def uniform(shape: Sequence[int], seed: Tensor, place: int) -> Tensor:
    """float32 from 2^-24 to 1 - 2^-24, each the middle of one of 2^23 equal parts; arguments as those of `bits`.

    One more bit could not be kept: 2^24 - 0.5 rounds to 2^24.
    """
    return (bits(shape, seed, place) >> 8).float().add(0.5).mul(2.0**-23)


def normal(shape: Sequence[int], seed: Tensor, place: int) -> Tensor:
    """float32 of mean 0 and variance 1 (Box and Muller 1958); takes the numbers of `place` and of `place + 1`."""
    radius = uniform(shape, seed, place).log().mul(-2).sqrt()
    return radius * uniform(shape, seed, place + 1).mul(2 * math.pi).cos()


def _int32(number: int) -> int:
    """The signed number of the same 32 bits."""
    return (number + 2**31) % 2**32 - 2**31


def _shifted(h: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, as for unsigned numbers."""
    shifted: Tensor = (h >> bits) & (2 ** (32 - bits) - 1)
    return shifted
