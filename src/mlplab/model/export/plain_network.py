"""A network reduced to what prediction needs: scaling, linear layers, activations, softmax."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlplab.data.splits import SplitDataset
from mlplab.errors import ConfigError
from mlplab.model.mlp import Affine, GaussianNoise
from mlplab.model.predictor import Predictor


@dataclass(frozen=True)
class Dense:
    """A linear layer, features @ weight + bias, and the activation of its result; the last layer has none."""

    weight: Tensor  # (inputs, outputs)
    bias: Tensor  # (outputs,)
    activation: nn.Module | None = None


@dataclass(frozen=True)
class PlainNetwork:
    """pixels * factor + shift, then the layers, then softmax."""

    factor: float
    shift: float
    layers: tuple[Dense, ...]
    image_shape: tuple[int, ...]  # of the pixels: (H, W), or (C, H, W) with several channels
    classes: tuple[str, ...]  # K names

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return factor, shift, and weight1, bias1, ... of the layers, in float32."""
        arrays = {"factor": np.array(self.factor, np.float32), "shift": np.array(self.shift, np.float32)}
        for n, layer in enumerate(self.layers, start=1):
            arrays |= {f"weight{n}": layer.weight.numpy(), f"bias{n}": layer.bias.numpy()}
        return arrays


def plain_network(predictor: Predictor, dataset: SplitDataset) -> PlainNetwork:
    """Return the parts of a network; raises ConfigError as `dense_layers` does."""
    channels, *size = dataset.info.image_shape
    shape = (*([channels] if channels > 1 else []), *size)
    layers = dense_layers(predictor.eval_network)
    return PlainNetwork(*dataset.factor_and_shift, layers, shape, tuple(dataset.info.classes))


@torch.no_grad()
def dense_layers(network: Iterable[nn.Module]) -> tuple[Dense, ...]:
    """Return linear layers that include batch norm, in float32, but computed in float64.

    Dropout and noise, which only training has, are left out.

    Raises:
        ConfigError: for a layer that is neither linear, nor within the linear ones, nor an activation.
    """
    layers: list[Dense] = []
    for module in network:
        if isinstance(module, nn.Linear):
            weight = module.weight.double().T  # (inputs, outputs)
            bias = weight.new_zeros(weight.shape[1]) if module.bias is None else module.bias.double()
            layers.append(Dense(weight, bias))
        elif isinstance(module, nn.BatchNorm1d | Affine):
            last = layers[-1]
            ends = last.bias.new_tensor([[0.0], [1.0]]).expand(-1, len(last.bias))  # (2, units)
            shift, one = copy.deepcopy(module).double().eval()(ends)
            factor = one - shift
            layers[-1] = Dense(last.weight * factor, last.bias * factor + shift)
        elif not isinstance(module, nn.Flatten | nn.Dropout | GaussianNoise):
            if not layers or layers[-1].activation or not type(module).__module__.endswith("nn.modules.activation"):
                raise ConfigError(f"{type(module).__name__}: a layer that cannot be exported.")
            if isinstance(module, nn.RReLU):  # random only in training
                module = nn.LeakyReLU((module.lower + module.upper) / 2)
            layers[-1] = replace(layers[-1], activation=module)
    return tuple(replace(each, weight=each.weight.float().contiguous(), bias=each.bias.float()) for each in layers)
