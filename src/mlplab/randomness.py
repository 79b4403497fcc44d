"""Random numbers as a function of (seed, purpose, index), so that no state has to be saved."""

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 32  # bytes that Philox gives for one value of its counter


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
    return list(_derived(1 << (count - 1).bit_length(), seed, purpose, index)[:count])


@lru_cache(maxsize=8)  # steps that come one by one ask for as many, and one more
def _derived(count: int, seed: int, purpose: Purpose, index: int) -> tuple[int, ...]:
    return tuple(np.random.SeedSequence((seed, int(purpose), index)).generate_state(count).tolist())


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


def random_bytes(
    seed: int, purpose: Purpose, index: int, first: int, count: int
) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    """`count` bytes of a stream of their own, from number `first` on; both multiples of `ALIGNMENT`.

    Philox is a function of key and counter (Salmon et al. 2011), so a stream can be entered anywhere; numpy promises
    that it gives the same numbers in every version.
    """
    key = np.random.SeedSequence((seed, int(purpose), index)).generate_state(2, np.uint64)
    generator = np.random.Philox(key=key, counter=[first // ALIGNMENT, 0, 0, 0])
    return generator.random_raw(count // 8).view(np.uint8)


def bits(shape: Sequence[int], seed: int, place: int) -> Tensor:
    """Random numbers of 16 bits, int16.

    Args:
        shape: of the numbers.
        seed: of 32 bits.
        place: tells apart what is drawn with one seed.
    """
    size = math.prod(shape)
    raw = np.random.Philox(key=[seed, place]).random_raw(-(-size // 4))
    return torch.from_numpy(raw.view(np.int16)[:size].copy()).view(*shape)


def uniform(shape: Sequence[int], seed: int, place: int) -> Tensor:
    """float32 from 2^-24 to 1 - 2^-24, each the middle of one of 2^23 equal parts; arguments as those of `bits`.

    One more bit could not be kept: 2^24 - 0.5 rounds to 2^24.
    """
    raw = np.random.Philox(key=[seed, place]).random_raw(math.prod(shape))
    return torch.from_numpy(((raw >> 41).astype(np.float32) + 0.5) * np.float32(2.0**-23)).view(*shape)
