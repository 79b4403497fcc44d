"""Packs the weights of a network into 16 bits each."""

import base64
from typing import Any

import numpy as np
from torch import Tensor

from mlplab.model.export.plain_network import PlainNetwork

LARGEST = 2**15 - 1


def packed(network: PlainNetwork) -> list[dict[str, Any]]:
    """Return each layer for pixels from 0 to 255: biases, and weights as fractions of the largest one of their unit."""
    first, *others = ((layer.weight.double(), layer.bias.double()) for layer in network.layers)
    weight, bias = first
    first = weight * network.factor, bias + network.shift * weight.sum(dim=0)
    return [_packed(*layer) for layer in (first, *others)]


def _packed(weight: Tensor, bias: Tensor) -> dict[str, Any]:
    """Round weights (inputs, units) to 16 bits, which is more precise than float16 at the same size.

    The integers are little-endian, in base64.
    """
    scales = (weight.abs().amax(dim=0) / LARGEST).clamp_min(1e-30)
    integers = np.ascontiguousarray((weight / scales).round().numpy(), dtype="<i2")
    return {"bias": _short(bias), "scales": _short(scales), "weights": base64.b64encode(integers.tobytes()).decode()}


def _short(values: Tensor) -> list[float]:
    return [float(f"{value:.8g}") for value in values.tolist()]
