"""The training step, written out: forward, cross-entropy, the gradient by hand, update; on several batches in a row.

What can be done for several batches at once is: random numbers, targets, losses. What remains of a step are some 15
calls into torch for one hidden layer, which write into buffers that are made once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlplab.aids import max_norm, mixup
from mlplab.cuda_graph import Captured
from mlplab.layers import Autograd, Dropout, Layer, Linear, Noise, ReLU, layer_of
from mlplab.randomness import ALIGNMENT, Purpose, derive_many, random_bytes, seed_generator


@dataclass(frozen=True)
class Method:
    """How a network is trained, apart from its optimizer."""

    seed: int = 0
    label_smoothing: float = 0.0
    mixup: float | None = None  # alpha
    max_norm: float | None = None
    clip_norm: float | None = None  # largest norm of the gradient
    clip_value: float | None = None  # largest value in it
    dtype: torch.dtype = torch.float32  # of forward and backward


class Gradients:
    """Forward and backward for batches of `size` images."""

    def __init__(self, network: nn.Module, size: int, dtype: torch.dtype) -> None:
        modules = list(network) if isinstance(network, nn.Sequential) else [network]
        self.layers = [layer_of(module, size, dtype) for module in modules if not isinstance(module, nn.Flatten)]
        self.first = next(i for i, layer in enumerate(self.layers) if list(layer.module.parameters()))
        for before, layer in zip([None, *self.layers[:-1]], self.layers, strict=True):
            if isinstance(layer, ReLU):
                layer.is_in_place = isinstance(before, Linear)
        if isinstance(first := self.layers[self.first], Linear):
            first.is_first = True
        self.last = self.layers[-1]
        self.share = 1 / size
        self.may_draw = any(isinstance(layer, Autograd) for layer in self.layers)  # from the global generator
        self.gradient: Tensor | None = None

    def __call__(
        self, images: Tensor, drawn: Sequence[Tensor | None], offsets: Tensor, logits: Tensor, logits_t: Tensor
    ) -> None:
        """Leave the gradients of the mean loss in the `.grad` of the weights.

        Args:
            images: (B, C*H*W).
            drawn: by layer, its random numbers (B, units) or None.
            offsets: (K, B), the targets times -1/B: the gradient of the logits is (softmax - targets) / B.
            logits: (K, B), to be written. A softmax over ten rows takes a fifth of the time of one over ten columns.
            logits_t: the same as (B, K).
        """
        if isinstance(self.last, Linear) and self.last.weight.dtype == logits.dtype:
            self.last.output = logits_t
        features = images
        for layer, numbers in zip(self.layers, drawn, strict=True):
            features = layer.forward(features, numbers)
        if features is not logits_t:
            logits_t.copy_(features)
        if self.gradient is None:
            self.probabilities = torch.empty_like(logits)
            self.gradient_t = torch.empty_like(logits, dtype=features.dtype)
            self.gradient = self.gradient_t.t()
        torch.softmax(logits, 0, out=self.probabilities)
        torch.add(offsets, self.probabilities, alpha=self.share, out=self.gradient_t)
        gradient = self.gradient
        for layer in reversed(self.layers[self.first :]):
            gradient = layer.backward(gradient)


class Draws:
    """Random numbers of layers: a function of seed, epoch, step and, for bits, the usual batch size."""

    def __init__(
        self, layers: Sequence[Layer], features: int, batch_size: int, seed: int, device: torch.device
    ) -> None:
        self.seed, self.device = seed, device
        self.generator = torch.Generator(device)
        self.widths, self.begins, self.stride = [], [], 0
        for layer in layers:
            self.widths.append(features)
            self.begins.append(self.stride)
            if isinstance(layer, Dropout):
                self.stride += -(-batch_size * features * layer.type.itemsize // ALIGNMENT) * ALIGNMENT
            elif isinstance(layer, Linear):
                features = layer.module.out_features

    def __call__(
        self, layers: Sequence[Layer], epoch: int, first: int, count: int, size: int
    ) -> list[tuple[Tensor | None, ...]]:
        """For each of `count` batches of `size` images, and each layer: (B, units), or None."""
        columns: list[list[Tensor | None]] = [[None] * count for _ in layers]
        if self.stride:
            stream = random_bytes(self.seed, Purpose.DROPOUT, epoch, first * self.stride, count * self.stride)
            numbers = stream.reshape(count, self.stride)
        for place, layer in enumerate(layers):
            width, begin = self.widths[place], self.begins[place]
            if isinstance(layer, Dropout):
                own = numbers[:, begin : begin + size * width * layer.type.itemsize].view(layer.type)
                kept = torch.from_numpy((own >= layer.dropped).view(np.uint8)).to(self.device)
                columns[place] = list(kept.view(count, size, width).unbind())
        noisy = [place for place, layer in enumerate(layers) if isinstance(layer, Noise)]
        for number, seed in enumerate(self.seeds(epoch, first, count) if noisy else ()):
            self.generator.manual_seed(seed)
            for place in noisy:
                normal = torch.empty(size, self.widths[place], device=self.device).normal_(generator=self.generator)
                columns[place][number] = normal
        return list(zip(*columns, strict=True))

    def seeds(self, epoch: int, first: int, count: int) -> list[int]:
        """One for each batch."""
        return derive_many(first + count, self.seed, Purpose.DROPOUT, epoch)[first:]


class Steps:
    """Trains a network, batch after batch.

    Args:
        network: an `nn.Sequential`, or any module: images (B, C*H*W) -> logits (B, K).
        num_classes: K.
        method: how.
        features: C*H*W.
        batch_size: of all batches but the last of an epoch, which may be smaller; 1 if unknown, until one is larger.
        after_update: called when the weights were changed.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        method: Method,
        features: int,
        batch_size: int,
        after_update: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.network, self.method = network, method
        self.features, self.num_classes, self.batch_size = features, num_classes, batch_size
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        for weight in network.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
        self.after_update = list(after_update)
        if method.max_norm is not None:
            self.after_update.insert(0, partial(max_norm.limit, max_norm.limited_weights(network), method.max_norm))
        self.by_size: dict[int, Gradients] = {}
        self.captured: dict[int, Captured] = {}
        self.draws: Draws | None = None
        self._under_way: Any = None

    @torch.no_grad()
    def __call__(
        self, images: Iterable[Tensor], labels: Tensor, epoch: int, first: int, update: Callable[[], None]
    ) -> tuple[Tensor, Tensor]:
        """Train on k batches; the loss of each and how many of its images it had right, before its step, (k,).

        Args:
            images: k times (B, C, H, W), normalised; each may be overwritten by the next.
            labels: (k, B).
            epoch, first: which epoch, and the number of the first of them in it: random numbers follow from both.
            update: changes the weights by their gradients.
        """
        dtype, exact = self.method.dtype, torch.promote_types(self.method.dtype, torch.float32)
        count, size = labels.shape
        gradients = self.by_size.get(size)
        if gradients is None:
            gradients = self.by_size[size] = Gradients(self.network, size, dtype)
        run: Callable[..., None] = gradients
        if labels.is_cuda and not gradients.may_draw:
            run = self.captured.get(size) or self.captured.setdefault(size, Captured(gradients, self.network))
        if self.draws is None or size > self.batch_size:
            self.batch_size = max(size, self.batch_size)
            self.draws = Draws(gradients.layers, self.features, self.batch_size, self.method.seed, labels.device)
        targets = F.one_hot(labels, self.num_classes).to(exact)  # (k, B, K)
        if self.method.label_smoothing:
            targets.lerp_(torch.full_like(targets, 1 / self.num_classes), self.method.label_smoothing)
        if self.method.mixup is not None:
            mixtures = self._mixtures(epoch, first, labels)
            images = (mixture.mixed(batch) for mixture, batch in zip(mixtures, images, strict=True))
            targets = torch.stack([mixture.mixed(own) for mixture, own in zip(mixtures, targets, strict=True)])
            labels = torch.stack([mixture.labels(own) for mixture, own in zip(mixtures, labels, strict=True)])
        targets = targets.transpose(1, 2).contiguous()  # (k, K, B)
        offsets, logits = targets * (-1 / size), torch.empty_like(targets)
        drawn = self.draws(gradients.layers, epoch, first, count, size)
        seeds = self.draws.seeds(epoch, first, count) if gradients.may_draw else None
        logits_t = logits.transpose(1, 2).unbind()
        batches = zip(images, drawn, offsets.unbind(), logits.unbind(), logits_t, strict=True)
        for number, (batch, *rest) in enumerate(batches):
            if seeds is not None:
                seed_generator(labels.device, seeds[number])
            features = batch.reshape(size, -1)
            if features.dtype != dtype:
                features = features.to(dtype)
            run(features, *rest)
            self._under_way = run, features, rest[0], rest[1]
            if self.method.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.weights, self.method.clip_norm)
            if self.method.clip_value is not None:
                nn.utils.clip_grad_value_(self.weights, self.method.clip_value)
            update()
            for change in self.after_update:
                change()
        losses = -(targets * logits.log_softmax(1)).sum(1).mean(1)
        answers = logits.transpose(1, 2).contiguous().argmax(2)  # (k, B); over ten rows it takes five times as long
        return losses, (answers == labels).sum(1)

    @torch.no_grad()
    def again(self) -> Tensor:
        """Renew the gradients of the batch under way; its loss. For LBFGS, which goes over a batch several times."""
        run, images, drawn, offsets = self._under_way
        logits = torch.empty_like(offsets)
        run(images, drawn, offsets, logits, logits.t())
        loss: Tensor = (offsets * logits.log_softmax(0)).sum()
        return loss

    def _mixtures(self, epoch: int, first: int, labels: Tensor) -> list[mixup.Mixture]:
        assert self.method.mixup is not None
        count, size = labels.shape
        seeds = derive_many(first + count, self.method.seed, Purpose.MIXUP, epoch)[first:]
        return [mixup.mixture(size, self.method.mixup, seed, labels.device) for seed in seeds]
