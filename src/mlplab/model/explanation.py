"""Reasons for an answer: pixels for a class, similar training images, the smallest change that flips it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlplab.data.splits import SplitDataset
from mlplab.model.outliers import directions
from mlplab.model.predictor import Predictor

WHITE = 255  # pixels are from 0, black, to this
LINEARISATIONS = 40
# Scales of a change, up to 8, tried until it flips the answer in whole grey levels.
SCALES = [0.9 * 1.02**k for k in range(111)]
PART = 5000  # training images at a time


@dataclass(frozen=True)
class Change:
    """A change of an image that flips the answer of a network."""

    image: Tensor  # (C, H, W) uint8, changed
    difference: Tensor  # (C, H, W) int64, in grey levels
    answer: int  # the new class
    probability: float  # of it

    @property
    def distance(self) -> float:
        """Euclidean length of the change, for pixels from 0 to 1."""
        return float((self.difference / WHITE).norm())

    @property
    def root_mean_square(self) -> float:
        """Root mean square over the pixels, in grey levels."""
        return float(self.difference.double().square().mean().sqrt())

    @property
    def largest(self) -> int:
        """Largest change of a pixel, in grey levels."""
        return int(self.difference.abs().max())


@dataclass(frozen=True)
class Neighbours:
    """The k training images most similar to each of N images, the most similar first."""

    rows: Tensor  # (N, k) int64, their rows in `SplitDataset.train_data`
    cosines: Tensor  # (N, k), of the angle between the last hidden layers


class Explainer:
    """Explains the answers of a network for uint8 images, in evaluation mode on the CPU."""

    def __init__(self, predictor: Predictor, dataset: SplitDataset) -> None:
        self._predictor, self._dataset = predictor.eval(), dataset
        self._slope, self._black = dataset.factor_and_shift

    def _logits(self, pixels: Tensor) -> Tensor:
        """Floats (N, C, H, W) from 0 to 255 -> logits (N, K), through which gradients flow."""
        logits: Tensor = self._predictor(self._black + self._slope * pixels)
        return logits

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 -> probabilities (N, K)."""
        return self._predictor.predict_step(self._dataset.normalized(images))

    def input_times_gradient(self, images: Tensor, classes: Tensor) -> Tensor:
        """Compute what each pixel adds to the logit of a class, linearised at the image, (N, C, H, W).

        It is the pixel, 0 for black, times the derivative of the logit with respect to it; so black pixels add nothing,
        whatever the normalisation (Shrikumar et al. 2016, arXiv:1605.01713).

        Args:
            images: (N, C, H, W) uint8.
            classes: (N,), a class for each image.
        """
        pixels = images.float().requires_grad_()
        chosen = self._logits(pixels).gather(1, classes.unsqueeze(1)).sum()
        (gradients,) = torch.autograd.grad(chosen, pixels)
        return images * gradients

    @torch.inference_mode()
    def nearest(self, images: Tensor, count: int) -> Neighbours:
        """Find the images that the network was trained on with the smallest angle to each of `images` (N, C, H, W).

        The angle is between last hidden layers, as in `outliers`. The data set reads its files, if it has not yet.
        """
        training, _ = self._dataset.train_data()
        rows, own = self._dataset.train_rows, directions(self._predictor, self._dataset, images)
        found, cosines = [], []
        for some in rows.split(PART):
            nearest = (own @ directions(self._predictor, self._dataset, training[some]).T).topk(min(count, len(some)))
            found.append(some[nearest.indices])
            cosines.append(nearest.values)
        best = torch.cat(cosines, dim=1).topk(min(count, len(rows)))
        return Neighbours(torch.cat(found, dim=1).gather(1, best.indices), best.values)

    def smallest_change(self, image: Tensor) -> Change | None:
        """Search for the smallest change of an image (C, H, W) uint8 that flips the answer, in whole grey levels.

        Towards each other class, the network is linearised again and again, and the image is moved to the boundary of
        the linear function: DeepFool (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599), but always from the original
        image and within the range of the pixels (Croce and Hein 2020, arXiv:1907.02044), and by half of the way, which
        keeps it from swinging between two linear regions. The shortest change that does flip the answer is returned;
        a shorter one may exist unless the network is linear. None if no change was found.
        """
        before = self.probabilities(image.unsqueeze(0))[0]
        answer = int(before.argmax())
        others = torch.tensor([k for k in range(len(before)) if k != answer])
        if not len(others):
            return None
        changes = self._to_boundaries(image, answer, others)  # (K - 1, C, H, W)
        scaled = (changes.unsqueeze(1) * torch.tensor(SCALES).view(-1, 1, 1, 1)).flatten(0, 1)  # (n, C, H, W)
        changed = (image + scaled).round().clamp(0, WHITE).to(torch.uint8)
        probabilities = torch.cat([self.probabilities(some) for some in changed.split(PART)])
        turned = (probabilities.argmax(dim=1) != answer).nonzero().flatten()
        if not len(turned):
            return None
        differences = changed[turned].long() - image
        best = int(differences.flatten(1).square().sum(dim=1).argmin())
        probability, new = probabilities[turned[best]].max(dim=0)
        return Change(changed[turned[best]], differences[best], int(new), float(probability))

    def _to_boundaries(self, image: Tensor, answer: int, others: Tensor) -> Tensor:
        """Find a change to the boundary with each other class, (K - 1, C, H, W)."""
        start = image.float().flatten()
        low, high = -start, WHITE - start
        changes = torch.zeros(len(others), len(start))
        for _ in range(LINEARISATIONS):
            pixels = (start + changes).requires_grad_()
            logits = self._logits(pixels.view(-1, *image.shape))
            leads = logits[:, answer] - logits.gather(1, others.unsqueeze(1)).squeeze(1)
            (gradients,) = torch.autograd.grad(leads.sum(), pixels)
            needed = leads.detach() - (gradients * changes).sum(dim=1)
            changes = (changes + shortest_step(-gradients, needed, low, high)) / 2
        return changes.view(-1, *image.shape)


def shortest_step(normals: Tensor, needed: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Find the shortest steps (N, D) with dot products with `normals` (N, D) of at least `needed` (N,), within a range.

    The range is from `low` to `high` (D,), which are at most and at least 0. A step is a multiple of its normal, except
    where that would leave the range; these coordinates stay at their limit, so that the others go further. If the range
    is too small, the step goes to its end.
    """
    steps, free = torch.zeros_like(normals), torch.ones_like(normals, dtype=torch.bool)
    while True:
        missing = (needed - (steps * normals * ~free).sum(dim=1)).clamp(min=0)
        scales = missing / (normals * free).square().sum(dim=1).clamp(min=torch.finfo(normals.dtype).tiny)
        wanted = torch.where(free, scales.nan_to_num().unsqueeze(1) * normals, steps)
        steps, beyond = wanted.clamp(low, high), free & ((wanted < low) | (wanted > high))
        if not beyond.any():
            return steps
        free &= ~beyond
