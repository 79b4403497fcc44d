"""Training as a plain loop of autograd and torch.optim, with the random numbers of a run."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.layers import Layer, layer_of
from mlplab.model.mlp import MLP, GaussianNoise
from mlplab.model.noise import draw
from mlplab.model.regularization import mixup
from mlplab.randomness import Purpose, derive_many

State = dict[str, Tensor]


def state_of(network: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@dataclass
class Trained:
    """Gradients, loss and correct answers of each step; the network, and its average."""

    network: nn.Module
    gradients: list[list[Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    correct: list[int] = field(default_factory=list)
    ema: State = field(default_factory=dict)


@dataclass
class Loop:
    """Trains a copy of an untrained network, batch by batch; `decay` is that of the average of the weights."""

    network: MLP
    optimizer: dict[str, Any]
    batch_size: int
    seed: int = 0
    label_smoothing: float = 0.0
    mixup_alpha: float | None = None
    max_norm: float | None = None
    clip: float | None = None
    by_value: bool = False
    decay: float | None = None
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        self.network = copy.deepcopy(self.network).to(self.dtype).train()
        self.weights = list(self.network.parameters())
        for weight in self.weights:
            weight.data = weight.data.contiguous()  # required by LBFGS
        arguments = {key: value for key, value in self.optimizer.items() if key != "name"}
        self.updates = getattr(optim, self.optimizer["name"])(self.weights, **arguments)
        self.trained = Trained(self.network)

    def step(self, images: Tensor, labels: Tensor, epoch: int, number: int) -> None:
        """Train on batch `number` of an epoch: images (B, C, H, W) and labels (B,)."""
        x, targets = images.flatten(1).to(self.dtype), F.one_hot(labels, self.network[-1].out_features).to(self.dtype)
        targets = (1 - self.label_smoothing) * targets + self.label_smoothing / targets.shape[1]
        if self.mixup_alpha is not None:
            seed = derive_many(number + 1, self.seed, Purpose.MIXUP, epoch)[number]
            share, partners = mixup.draw(len(labels), self.mixup_alpha, seed)
            share = torch.tensor(share).item()  # in 32 bits
            x, targets = share * x + (1 - share) * x[partners], share * targets + (1 - share) * targets[partners]
            labels = labels if share >= 0.5 else labels[partners]
        drawn = self._drawn(x, epoch, number)

        def closure() -> Tensor:
            torch.manual_seed(derive_many(number + 1, self.seed, Purpose.DROPOUT, epoch)[number])  # random slopes
            logits = _forward(self.network, x, drawn)
            loss = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
            self.updates.zero_grad()
            loss.backward()
            if self.clip is not None:
                (nn.utils.clip_grad_value_ if self.by_value else nn.utils.clip_grad_norm_)(self.weights, self.clip)
            seen.append((loss.item(), logits))
            return loss

        seen: list[tuple[float, Tensor]] = []
        self.updates.step(closure)
        loss, logits = seen[0]
        self.trained.gradients.append([weight.grad.clone() for weight in self.weights])
        self.trained.losses.append(loss)
        self.trained.correct.append(int((logits.argmax(dim=1) == labels).sum()))
        if self.max_norm is not None:
            self._bound(self.max_norm)
        if self.decay is not None:
            self._average(self.decay)

    def _drawn(self, x: Tensor, epoch: int, number: int) -> list[Tensor | None]:
        """Draw the random numbers of each module except the first, which flattens."""
        modules = list(self.network)[1:]
        if not any(isinstance(module, nn.Dropout | GaussianNoise) for module in modules):
            return [None] * len(modules)
        layers: list[Layer] = []
        for module in modules:
            layers.append(layer_of(module, layers[-1].output if layers else x))
        next(draw(layers, self.batch_size, self.seed, epoch, number, 1))
        return [getattr(layer, "drawn", None) for layer in layers]

    @torch.no_grad()
    def _bound(self, most: float) -> None:
        *hidden, _ = (module for module in self.network if isinstance(module, nn.Linear))
        for layer in hidden:
            norms = layer.weight.norm(dim=1, keepdim=True)
            # torch.renorm divides by a norm that is larger by 1e-7
            layer.weight.mul_(torch.where(norms > most, most / (norms + 1e-7), 1))

    def _average(self, decay: float) -> None:
        share, before = max(1 / len(self.trained.losses), 1 - decay), self.trained.ema
        self.trained.ema = {
            key: (1 - share) * before[key] + share * value if before and value.is_floating_point() else value
            for key, value in state_of(self.network).items()
        }


def _forward(network: MLP, x: Tensor, drawn: list[Tensor | None]) -> Tensor:
    for module, numbers in zip(list(network)[1:], drawn, strict=True):
        if isinstance(module, nn.Dropout):
            values = 256 if module.p >= 1 / 16 else 2**16  # of a random number
            x = x * numbers / (1 - round(module.p * values) / values)
        elif isinstance(module, GaussianNoise):
            x = x + module.std * numbers.to(x.dtype)
        else:
            x = module(x)
    return x


def trained(
    network: MLP, datamodule: ImageDataModule, epochs: int, optimizer: dict[str, Any], **method: Any
) -> Trained:
    """Train a copy of an untrained network with seed 0; `method` holds arguments of `Loop`."""
    loop = Loop(network, optimizer, datamodule.batch_size, **method)
    images, labels = datamodule.training_data(torch.device("cpu"))
    for epoch in range(epochs):
        for number, rows in enumerate(datamodule.epoch_rows(epoch).split(datamodule.batch_size)):
            loop.step(datamodule.normalized(images[rows]), labels[rows], epoch, number)
    return loop.trained
