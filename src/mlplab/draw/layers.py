"""Folds a network into layers of weights, biases and an activation, and packs weights into 16 bits."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlplab.draw import activations
from mlplab.errors import CheckpointError
from mlplab.model.mlp import Affine, GaussianNoise

LARGEST = 2**15 - 1
_ONLY_IN_TRAINING = nn.Flatten | nn.Dropout | GaussianNoise  # or without effect on numbers in a row


@dataclass
class Layer:
    weight: Tensor  # (units, inputs) float64
    bias: Tensor  # (units,) float64
    activation: str = ""  # JavaScript in `x`; the output layer has none

    def scaled(self, scale: Tensor, shift: Tensor) -> None:
        """Multiply the sums by `scale` (units,) and add `shift` (units,)."""
        self.weight, self.bias = self.weight * scale[:, None], self.bias * scale + shift

    def packed(self) -> dict[str, Any]:
        """Round each unit's weights to 16 bits of their largest, which is more precise than float16 at the same size.

        The integers are little-endian and in the order of the inputs, in base64.
        """
        scales = (self.weight.abs().amax(dim=1) / LARGEST).clamp_min(1e-30)
        integers = (self.weight / scales[:, None]).round().numpy().T  # (inputs, units)
        text = base64.b64encode(np.ascontiguousarray(integers, dtype="<i2").tobytes()).decode()
        return {"bias": _short(self.bias), "scales": _short(scales), "weights": text}


@torch.no_grad()
def folded(network: nn.Sequential, normalized: Callable[[Tensor], Tensor]) -> list[Layer]:
    """Return the layers of a network in evaluation mode, for pixels from 0 to 255.

    Args:
        network: takes normalised pixels.
        normalized: a linear function of pixels.

    Raises:
        CheckpointError: if a module or an activation is none that the page computes.
    """
    layers = list[Layer]()
    for module in network:
        if isinstance(module, nn.Linear):
            weight = module.weight.double()
            bias = torch.zeros(len(weight)) if module.bias is None else module.bias
            layers.append(Layer(weight, bias.double()))
        elif isinstance(module, nn.BatchNorm1d) and module.running_mean is not None and module.running_var is not None:
            scale = (module.running_var.double() + module.eps).rsqrt()
            layers[-1].scaled(scale, -module.running_mean.double() * scale)
            if module.affine:
                layers[-1].scaled(module.weight.double(), module.bias.double())
        elif isinstance(module, Affine):
            layers[-1].scaled(module.weight.double(), module.bias.double())
        elif layers and not layers[-1].activation and not isinstance(module, _ONLY_IN_TRAINING):
            layers[-1].activation = activations.expression(module)
        elif not isinstance(module, _ONLY_IN_TRAINING):
            raise CheckpointError(f"{type(module).__name__}: the page cannot compute this part of the network.")
    first, (black, white) = layers[0], normalized(torch.tensor([0, 255])).tolist()
    first.bias = first.bias + black * first.weight.sum(dim=1)
    first.weight = first.weight * ((white - black) / 255)
    return layers


def _short(values: Tensor) -> list[float]:
    return [float(f"{value:.8g}") for value in values.tolist()]
