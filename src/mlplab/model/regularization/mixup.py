"""Mixup (Zhang et al. 2018): trains on weighted means of two images, with the same weighted mean of their losses."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Mixture(NamedTuple):
    """Mixing of one batch, with one weight for all its images as in the authors' code."""

    share: Tensor  # () float32, the weight of an image; its partner has the rest
    partners: Tensor  # (B,) int64, a permutation of the batch

    def mixed(self, values: Tensor) -> Tensor:
        """Mix images (B, ...) or targets (B, K): cross-entropy is linear in the targets, and so is mixed with them."""
        return torch.lerp(values[self.partners], values, self.share)

    def labels(self, labels: Tensor) -> Tensor:
        """Return the label (B,) with the larger weight in each mixed image."""
        return torch.where(self.share >= 0.5, labels, labels[self.partners])


def draw(size: int, alpha: float, seed: int) -> tuple[float, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """Draw a weight from Beta(alpha, alpha), and a permutation of `size` images, as a function of `seed` (32 bits).

    numpy promises that a RandomState gives the same numbers in every version.
    """
    state = np.random.RandomState(seed)
    return float(state.beta(alpha, alpha)), state.permutation(size).astype(np.int64)
