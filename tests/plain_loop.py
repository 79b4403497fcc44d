"""A run as a plain loop: autograd and torch.optim in 64 bits, with the numbers that a run draws."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.layers import Layer, layer_of
from mlplab.model.mlp import MLP, GaussianNoise
from mlplab.model.regularization import mixup
from mlplab.model.training_step import draw
from mlplab.randomness import Purpose, derive_many

State = dict[str, Tensor]


@dataclass
class Trained:
    """By step, loss, right answers and, after it, the network's state; and the averages of the last."""

    network: MLP
    losses: list[float] = field(default_factory=list)
    correct: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    ema: State = field(default_factory=dict)


def layers_of(network: nn.Sequential, features: Tensor) -> list[Layer]:
    """One for each module but the first, which flattens."""
    layers: list[Layer] = []
    for module in list(network)[1:]:
        layers.append(layer_of(module, layers[-1].output if layers else features))
    return layers


def state_of(network: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def trained(
    network: MLP,
    datamodule: ImageDataModule,
    epochs: int,
    optimizer: dict[str, Any],
    label_smoothing: float = 0.0,
    mixup_alpha: float | None = None,
    max_norm: float | None = None,
    clip: float | None = None,
    by_value: bool = False,
    decay: float = 0.9,
) -> Trained:
    """What training with seed 0 makes of an untrained network, which stays as it is; `decay` is of `ema`."""
    network = copy.deepcopy(network).double().train()
    weights = list(network.parameters())
    name, arguments = optimizer["name"], {key: value for key, value in optimizer.items() if key != "name"}
    updates = getattr(optim, name)(weights, foreach=False, **arguments)
    images, labels = datamodule.training_data(_CPU)
    found = Trained(network)
    for epoch in range(epochs):
        batches = datamodule.epoch_rows(epoch).split(datamodule.batch_size)
        mixes = derive_many(len(batches), 0, Purpose.MIXUP, epoch)
        for number, rows in enumerate(batches):
            x, targets = datamodule.normalized(images[rows]).double(), F.one_hot(labels[rows], 10).double()
            targets = (1 - label_smoothing) * targets + label_smoothing / 10
            own = labels[rows]
            if mixup_alpha is not None:
                share, partners = mixup.draw(len(rows), mixup_alpha, mixes[number])
                x, targets = share * x + (1 - share) * x[partners], share * targets + (1 - share) * targets[partners]
                own = own if share >= 0.5 else own[partners]
            layers = layers_of(network, x.flatten(1))
            next(draw(layers, datamodule.batch_size, 0, epoch, number, 1))
            logits = _forward(network, x.flatten(1), [getattr(layer, "drawn", None) for layer in layers])
            loss = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
            updates.zero_grad()
            loss.backward()
            if clip is not None:
                (nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_)(weights, clip)
            updates.step()
            if max_norm is not None:
                _bound(network, max_norm)
            found.losses.append(loss.item())
            found.correct.append(int((logits.argmax(dim=1) == own).sum()))
            found.states.append(state_of(network))
            share = max(1 / len(found.states), 1 - decay)
            found.ema = {
                key: (1 - share) * found.ema[key] + share * value if found.ema and value.is_floating_point() else value
                for key, value in found.states[-1].items()
            }
    return found


_CPU = torch.device("cpu")


def _forward(network: MLP, x: Tensor, numbers: list[Any]) -> Tensor:
    for module, drawn in zip(list(network)[1:], numbers, strict=True):
        if isinstance(module, nn.Dropout):
            values = 256 if module.p >= 1 / 16 else 2**16  # of a random number
            x = x * drawn / (1 - round(module.p * values) / values)
        elif isinstance(module, GaussianNoise):
            x = x + module.std * drawn
        else:
            x = module(x)
    return x


@torch.no_grad()
def _bound(network: MLP, most: float) -> None:
    *hidden, _ = (module for module in network if isinstance(module, nn.Linear))
    for layer in hidden:
        for row in layer.weight:
            row.mul_(min(1.0, most / float(row.norm())))
