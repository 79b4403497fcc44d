"""Random numbers as a function of (seed, purpose, index), so that no state has to be saved."""

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 32  # bytes of Philox per value of its counter


class Purpose(IntEnum):
    """Separates streams of the same seed. Changing a value would change every published figure."""

    SPLIT = 0
    WEIGHTS = 1
    ORDER = 2
    DROPOUT = 3  # and noise
    AUGMENT = 4
    MIXUP = 5
    TEST = 6  # images set aside from own data
    LABEL_NOISE = 7
    OTHER_LABEL = 8


def derive(seed: int, purpose: Purpose, index: int = 0) -> int:
    """Derive a seed of 32 bits by hashing the parts, because torch's CPU generator reads no more bits."""
    return derive_many(1, seed, purpose, index)[0]


def derive_many(count: int, seed: int, purpose: Purpose, index: int = 0) -> list[int]:
    """Derive `count` seeds of 32 bits; a larger `count` begins with the same ones."""
    return list(_derived(1 << (count - 1).bit_length(), seed, purpose, index)[:count])


@lru_cache(maxsize=8)  # calls for successive steps ask for one more each
def _derived(count: int, seed: int, purpose: Purpose, index: int) -> tuple[int, ...]:
    return tuple(np.random.SeedSequence((seed, int(purpose), index)).generate_state(count).tolist())


def permutation(size: int, seed: int, purpose: Purpose, index: int = 0) -> Tensor:
    """Return the numbers from 0 to size - 1 in random order, int64 of shape (size,)."""
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
    """Return `count` bytes of a separate stream, from byte `first` on; both are multiples of `ALIGNMENT`.

    Philox is a function of key and counter (Salmon et al. 2011), so a stream can be entered at any position. numpy
    guarantees the same numbers in every version.
    """
    key = np.random.SeedSequence((seed, int(purpose), index)).generate_state(2, np.uint64)
    generator = np.random.Philox(key=key, counter=[first // ALIGNMENT, 0, 0, 0])
    return generator.random_raw(count // 8).view(np.uint8)


def bits(shape: Sequence[int], seed: int, place: int) -> Tensor:
    """Return random numbers of 16 bits, int16.

    Args:
        shape: of the numbers.
        seed: of 32 bits.
        place: distinguishes numbers drawn with the same seed.
    """
    size = math.prod(shape)
    raw = np.random.Philox(key=[seed, place]).random_raw(-(-size // 4))
    return torch.from_numpy(raw.view(np.int16)[:size].copy()).view(*shape)


def uniform(shape: Sequence[int], seed: int, place: int) -> Tensor:
    """Return float32 from 2^-24 to 1 - 2^-24, each the middle of one of 2^23 equal parts; arguments as for `bits`.

    One more bit would not fit: 2^24 - 0.5 rounds to 2^24.
    """
    raw = np.random.Philox(key=[seed, place]).random_raw(math.prod(shape))
    return torch.from_numpy(((raw >> 41).astype(np.float32) + 0.5) * np.float32(2.0**-23)).view(*shape)
