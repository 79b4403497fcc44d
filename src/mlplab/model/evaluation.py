"""Score a classifier, class by class."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from mlplab.data.blocks import Batch
from mlplab.model.classifier import Classifier


@dataclass(frozen=True)
class Scores:
    """Scores of N images in K classes, in their order."""

    loss: float  # mean cross-entropy per image
    confusion: Tensor  # (K, K) int64: images of class row that were taken for class column
    probabilities: Tensor  # (N, K)
    labels: Tensor  # (N,)

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Self:
        """Logits (N, K) and labels (N,) on the CPU."""
        logits = logits.float()
        loss = F.cross_entropy(logits, labels).item()
        return cls(loss, confusion(logits, labels), logits.softmax(dim=1), labels)

    @property
    def acc(self) -> float:
        """Fraction of images that were classified correctly."""
        return int(self.confusion.trace()) / int(self.confusion.sum())

    @property
    def precision(self) -> Tensor:
        """Share of the images taken for a class that are of it, (K,); 0 where none was."""
        return self.confusion.diag() / self.confusion.sum(dim=0).clamp(min=1)

    @property
    def recall(self) -> Tensor:
        """Share of the images of a class that were taken for it, (K,)."""
        return self.confusion.diag() / self.confusion.sum(dim=1).clamp(min=1)

    @property
    def f1(self) -> Tensor:
        """Harmonic mean of precision and recall, (K,)."""
        return 2 * self.confusion.diag() / (self.confusion.sum(dim=0) + self.confusion.sum(dim=1)).clamp(min=1)

    def most_confident_mistakes(self, limit: int) -> Tensor:
        """Find the indices (M,) of at most `limit` images that were classified wrongly, the most confident first."""
        confidence, guesses = self.probabilities.max(dim=1)
        wrong = (guesses != self.labels).nonzero().flatten()
        return wrong[confidence[wrong].argsort(descending=True, stable=True)[:limit]]


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the images of class row that were taken for class column, (K, K), from logits (N, K) and labels (N,)."""
    classes = logits.shape[1]
    cells = labels * classes + logits.argmax(dim=1)  # (N,), places in the matrix, row after row
    return cells.bincount(minlength=classes**2).view(classes, classes)


@torch.inference_mode()
def score(classifier: Classifier, batches: Iterable[Batch]) -> Scores:
    """Images of the batches are normalised floats (B, C, H, W)."""
    classifier.eval()
    scored = [(classifier(images), labels) for images, labels in batches]
    logits, labels = (torch.cat(parts) for parts in zip(*scored, strict=True))
    return Scores.of(logits, labels)
