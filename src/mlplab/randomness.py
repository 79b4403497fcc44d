"""Random numbers as a function of (seed, purpose, index), so that no state has to be saved."""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """Keeps streams of the same seed apart. The values are part of every published figure."""

    SPLIT = 0
    WEIGHTS = 1
    ORDER = 2
    DROPOUT = 3


def derive(seed: int, purpose: Purpose, index: int = 0) -> int:
    """A seed of 32 bits: torch's generator on the CPU reads no more, so the parts are hashed, not concatenated."""
    return derive_many(1, seed, purpose, index)[0]


def derive_many(count: int, seed: int, purpose: Purpose, index: int = 0) -> list[int]:
    """`count` seeds of 32 bits; more of them begin with the same ones."""
    return [int(value) for value in np.random.SeedSequence((seed, int(purpose), index)).generate_state(count)]


def permutation(size: int, seed: int, purpose: Purpose, index: int = 0) -> torch.Tensor:
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
