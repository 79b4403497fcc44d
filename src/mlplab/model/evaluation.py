"""Scores of a classifier, in total and by class."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from mlplab.data.blocks import Batch
from mlplab.model.predictor import Predictor


@dataclass(frozen=True)
class Scores:
    """Scores of N images in K classes."""

    loss: float  # mean cross-entropy per image
    confusion: Tensor  # (K, K) int64: true class by row, predicted class by column
    probabilities: Tensor  # (N, K)
    labels: Tensor  # (N,)

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Self:
        """Score logits (N, K) and labels (N,) on the CPU."""
        logits = logits.float()
        loss = F.cross_entropy(logits, labels).item()
        return cls(loss, confusion(logits, labels), logits.softmax(dim=1), labels)

    @property
    def acc(self) -> float:
        """Fraction of images classified correctly."""
        return int(self.confusion.trace()) / int(self.confusion.sum())

    @property
    def precision(self) -> Tensor:
        """Fraction of the images predicted as a class that belong to it, (K,); 0 if none was predicted."""
        return self.confusion.diag() / self.confusion.sum(dim=0).clamp(min=1)

    @property
    def recall(self) -> Tensor:
        """Fraction of the images of a class that were predicted as it, (K,)."""
        return self.confusion.diag() / self.confusion.sum(dim=1).clamp(min=1)

    @property
    def f1(self) -> Tensor:
        """Harmonic mean of precision and recall, (K,)."""
        return 2 * self.confusion.diag() / (self.confusion.sum(dim=0) + self.confusion.sum(dim=1)).clamp(min=1)

    def most_confident_mistakes(self, limit: int) -> Tensor:
        """Find the indices (M,) of at most `limit` misclassified images, the most confident first."""
        confidence, guesses = self.probabilities.max(dim=1)
        wrong = (guesses != self.labels).nonzero().flatten()
        return wrong[confidence[wrong].argsort(descending=True, stable=True)[:limit]]


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Count images by true class (row) and predicted class (column), (K, K), from logits (N, K) and labels (N,)."""
    classes = logits.shape[1]
    cells = labels * classes + logits.argmax(dim=1)  # (N,), positions in the matrix, row after row
    return cells.bincount(minlength=classes**2).view(classes, classes)


@torch.inference_mode()
def score(predictor: Predictor, batches: Iterable[Batch]) -> Scores:
    """Score batches of normalised images (B, C, H, W) and labels (B,)."""
    predictor.eval()
    scored = [(predictor(images), labels) for images, labels in batches]
    logits, labels = (torch.cat(parts) for parts in zip(*scored, strict=True))
    return Scores.of(logits, labels)
