"""The training step: forward, cross-entropy, hand-written gradient and update, for several batches in a row.

With one hidden layer a step is a list of about 15 torch calls, on buffers that are allocated once. Random numbers,
targets and losses are computed for several batches at once.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlplab.data.blocks import Chunk
from mlplab.model.cuda_graph import Captured
from mlplab.model.layers import Call, Layer, Linear, layer_of
from mlplab.model.noise import draw, may_draw_globally
from mlplab.model.regularization import max_norm, mixup
from mlplab.randomness import Purpose, derive_many

# In floating-point operations, or their time. A block takes 0.1 to 0.3 s, so that Lightning's overhead per block is
# small, and signals are handled soon. Each step and each distorted image have an additional cost.
BLOCK, STEP, DISTORTION = 2e10, 1e7, 5e6


def block_length(network: nn.Module, batch_size: int, distorts: bool) -> int:
    """Choose the number of batches between two calls of Lightning's hooks."""
    weights = sum(weight.numel() for weight in network.parameters())
    return max(1, int(BLOCK / ((6 * weights + DISTORTION * distorts) * batch_size + STEP)))


@dataclass(frozen=True)
class Method:
    """Method of training, apart from the optimizer.

    Args:
        seed: of dropout, noise and mixup.
        label_smoothing: fraction of the target, from 0 to below 1, spread over all classes (Szegedy et al. 2016). It
            affects only `train/loss`: `val/loss` and `test/loss` are plain cross-entropy.
        mixup: alpha of the Beta distribution, above 0, see `regularization.mixup`; None for no mixing. `train/loss` is
            that of mixed images, and `train/acc` counts answers equal to the label with the larger weight.
        max_norm: largest norm of the weights into a hidden unit, see `regularization.max_norm`; None for no bound.
        gradient_clip_val, gradient_clip_algorithm: largest norm ("norm") of the gradient, or largest value in it
            ("value"); None or 0 for no bound.
        dtype: of forward and backward; None for that of the weights.

    Raises:
        ValueError: for a value out of range.
    """

    seed: int = 0
    label_smoothing: float = 0.0
    mixup: float | None = None
    max_norm: float | None = None
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be from 0 to below 1, got {self.label_smoothing}")
        for name, value in (("max_norm", self.max_norm), ("mixup", self.mixup)):
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be above 0, or None, got {value}")
        if self.gradient_clip_algorithm not in (None, "norm", "value"):
            raise ValueError(f"`gradient_clip_algorithm` must be norm or value, got {self.gradient_clip_algorithm!r}")


class Gradients:
    """Forward and backward for batches of one size; writes gradients of the mean loss to the `.grad` of the weights.

    Attributes:
        images: (B, C*H*W), to be written before a call, like the `drawn` of each layer.
        run: the same as a call; on a GPU in one launch.
    """

    def __init__(self, network: nn.Sequential, size: int, features: int, dtype: torch.dtype) -> None:
        self.images = torch.zeros(size, features, dtype=dtype, device=next(network.parameters()).device)
        self.layers: list[Layer] = []
        self.output = self.images
        for module in network:
            if not isinstance(module, nn.Flatten):
                self.layers.append(layer_of(module, self.output, self.layers[-1] if self.layers else None))
                self.output = self.layers[-1].output
        exact, last = torch.promote_types(dtype, torch.float32), self.layers[-1]
        self.forward = [call for layer in self.layers for call in layer.forward]
        self.logits: Callable[..., object] = lambda out: out.copy_(self.output)
        if isinstance(last, Linear) and dtype == exact:  # it can write them where they stay
            self.logits = last.product
            del self.forward[-1]
        # A softmax over ten rows takes a fifth of the time of one over ten columns.
        self.probabilities = self.output.new_empty(*reversed(self.output.shape), dtype=exact)
        self.gradient = torch.empty_like(self.probabilities, dtype=dtype)
        self.backward: list[Call] = []
        gradient = self.gradient.t()
        first = next(number for number, layer in enumerate(self.layers) if list(layer.module.parameters()))
        for number in reversed(range(first, len(self.layers))):
            gradient = self.layers[number].connect(gradient, is_first=number == first)
            self.backward += self.layers[number].backward
        self.run: Callable[[Tensor, Tensor, Tensor], None] = self
        if self.images.is_cuda and not may_draw_globally(self.layers):
            self.run = Captured(self, network)

    def __call__(self, offsets: Tensor, logits: Tensor, logits_t: Tensor) -> None:
        """Compute the gradients, and the logits (K, B) in memory shared with `logits_t` (B, K).

        The gradient of the logits is (softmax - targets) / B; `offsets` (K, B) are the targets times -1/B.
        """
        for call in self.forward:
            call()
        self.logits(out=logits_t)
        torch.softmax(logits, 0, out=self.probabilities)
        torch.add(offsets, self.probabilities, alpha=1 / len(logits_t), out=self.gradient)
        for call in self.backward:
            call()


class Steps:
    """Trains a network, batch after batch.

    Args:
        network: distinct modules that do not work in place: images (B, C*H*W) -> logits (B, K).
        num_classes: K.
        method: of training.
        features: C*H*W.
        batch_size: of all batches except the last of an epoch, which may be smaller; 1 if unknown, until one is larger.
        after_update: called after each update of the weights.
    """

    def __init__(
        self,
        network: nn.Sequential,
        num_classes: int,
        method: Method,
        features: int,
        batch_size: int,
        after_update: Sequence[Call] = (),
    ) -> None:
        self.network, self.method = network, method
        self.features, self.num_classes, self.batch_size = features, num_classes, batch_size
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        for weight in network.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
        self.before_update, self.after_update = list[Call](), list(after_update)
        if method.gradient_clip_val:
            by_value = method.gradient_clip_algorithm == "value"
            clip = nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_
            self.before_update.append(partial(clip, self.weights, method.gradient_clip_val))
        if method.max_norm is not None:
            self.after_update.insert(0, partial(max_norm.limit, max_norm.limited_weights(network), method.max_norm))
        self.by_size: dict[int, Gradients] = {}

    @torch.no_grad()
    def gradients(self, size: int) -> Gradients:
        """Return the gradients for batches of `size` images, made at the first call."""
        if size not in self.by_size:
            dtype = self.method.dtype or next(self.network.parameters()).dtype
            self.by_size[size] = Gradients(self.network, size, self.features, dtype)
        return self.by_size[size]

    def images(self, size: int) -> Tensor:
        """Return the memory from which the images of a batch are read, (B, C*H*W)."""
        return self.gradients(size).images

    def train(self, chunks: Iterable[Chunk], epoch: int, update: Call) -> tuple[list[float], list[int], list[int]]:
        """Train on chunks of equal-sized batches; yield loss, correct answers and images of each batch."""
        outcomes, sizes = [], list[int]()
        with torch.autocast(self.weights[0].device.type, enabled=False), warnings.catch_warnings():
            # The schedule expects a call of `step`, but `Fused.update` is used.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            for first, images, labels in chunks:
                outcomes.append(self(images, labels, epoch, first, update))
                sizes += [labels.shape[1]] * len(labels)
        losses, correct = (torch.cat(parts).tolist() for parts in zip(*outcomes, strict=True))
        return losses, correct, sizes

    @torch.no_grad()
    def __call__(
        self, images: Iterable[Tensor], labels: Tensor, epoch: int, first: int, update: Call
    ) -> tuple[Tensor, Tensor]:
        """Train on k batches; return the loss and the number of correct answers of each before its step, (k,).

        Args:
            images: k times (B, C, H, W), normalised; each may be overwritten by the next. Those in the memory of
                `gradients(B).images` are not copied.
            labels: (k, B).
            epoch, first: the epoch, and the number of its first batch here; random numbers follow from both.
            update: changes the weights by their gradients.
        """
        count, size = labels.shape
        self.batch_size = max(size, self.batch_size)
        gradients = self.gradients(size)
        targets = F.one_hot(labels, self.num_classes).to(gradients.probabilities.dtype)  # (k, B, K)
        if self.method.label_smoothing:
            targets.lerp_(torch.full_like(targets, 1 / self.num_classes), self.method.label_smoothing)
        if self.method.mixup is not None:
            mixtures = self._mixtures(self.method.mixup, epoch, first, labels)
            images = (mixture.mixed(batch) for mixture, batch in zip(mixtures, images, strict=True))
            targets = torch.stack([mixture.mixed(own) for mixture, own in zip(mixtures, targets, strict=True)])
            labels = torch.stack([mixture.labels(own) for mixture, own in zip(mixtures, labels, strict=True)])
        targets = targets.transpose(1, 2).contiguous()  # (k, K, B)
        logits = torch.empty_like(targets)
        own, place = gradients.images, gradients.images.data_ptr()
        changes = [*self.before_update, update, *self.after_update]
        drawing = draw(gradients.layers, self.batch_size, self.method.seed, epoch, first, count)
        by_step = zip((targets * (-1 / size)).unbind(), logits.unbind(), logits.transpose(1, 2).unbind(), strict=True)
        for batch, step, _ in zip(images, by_step, drawing, strict=True):
            if batch.data_ptr() != place:
                own.copy_(batch.reshape(size, -1))
            gradients.run(*step)
            self._under_way = gradients, *step
            for change in changes:
                change()
        losses = -(targets * logits.log_softmax(1)).sum(1).mean(1)
        # A tie counts as right. An argmax over the classes would take a fiftieth of a small network's step.
        correct = logits.gather(1, labels.unsqueeze(1)).squeeze(1) >= logits.amax(1)
        return losses, correct.sum(1)

    @torch.no_grad()
    def again(self) -> Tensor:
        """Recompute the gradients of the current batch and return its loss, for LBFGS, which does so several times."""
        gradients, offsets, logits, _ = self._under_way
        logits = torch.empty_like(logits)  # the values before the step are reported

        gradients.run(offsets, logits, logits.t())
        for change in self.before_update:
            change()
        return (offsets * logits.log_softmax(0)).sum()

    def _mixtures(self, alpha: float, epoch: int, first: int, labels: Tensor) -> list[mixup.Mixture]:
        count, size = labels.shape
        seeds, device = derive_many(first + count, self.method.seed, Purpose.MIXUP, epoch)[first:], labels.device
        drawn = (mixup.draw(size, alpha, seed) for seed in seeds)
        return [
            mixup.Mixture(torch.tensor(share, device=device), torch.from_numpy(own).to(device)) for share, own in drawn
        ]
