"""Score a classifier, class by class."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mlplab.classifier import Classifier
from mlplab.datamodule import Batch


@dataclass(frozen=True)
class Scores:
    loss: float  # mean cross-entropy per image
    confusion: Tensor  # (K, K) int64: images of class row that were taken for class column

    @property
    def acc(self) -> float:
        """Fraction of images that were classified correctly."""
        return int(self.confusion.trace()) / int(self.confusion.sum())

    @property
    def precision(self) -> Tensor:
        """(K,): of the images taken for a class, the fraction that are of it; 0 where none was."""
        return self.confusion.diag() / self.confusion.sum(dim=0).clamp(min=1)

    @property
    def recall(self) -> Tensor:
        """(K,): of the images of a class, the fraction taken for it."""
        return self.confusion.diag() / self.confusion.sum(dim=1).clamp(min=1)

    @property
    def f1(self) -> Tensor:
        """(K,): harmonic mean of precision and recall."""
        return 2 * self.confusion.diag() / (self.confusion.sum(dim=0) + self.confusion.sum(dim=1)).clamp(min=1)


@torch.inference_mode()
def score(classifier: Classifier, batches: Iterable[Batch]) -> Scores:
    """Images of the batches are normalised floats (B, C, H, W)."""
    classifier.eval()
    classes = len(classifier.hparams["classes"])
    loss = 0.0
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for images, labels in batches:
        logits = classifier(images)  # (B, K)
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        pairs = labels * classes + logits.argmax(dim=1)  # (B,)
        confusion += pairs.bincount(minlength=classes**2).view(classes, classes)
    return Scores(loss / int(confusion.sum()), confusion)


def most_confident_mistakes(probabilities: Tensor, labels: Tensor, limit: int = 24) -> Tensor:
    confidence, guesses = probabilities.max(dim=1)
    wrong = (guesses != labels).nonzero().flatten()
    return wrong[confidence[wrong].argsort(descending=True, stable=True)][:limit]
