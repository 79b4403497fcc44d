"""Max-norm: an upper bound on the norm of the weights into each hidden unit.

As in Srivastava et al. (2014), section 5.1, the output layer and biases are not bounded.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def limited_weights(network: nn.Module) -> list[Tensor]:
    """The weight matrices of the hidden layers."""
    *hidden, _ = (layer.weight for layer in network.modules() if isinstance(layer, nn.Linear))
    return hidden


@torch.no_grad()
def limit(weights: Iterable[Tensor], most: float) -> None:
    """Scale down, in place, each row of a weight matrix (units, inputs) whose Euclidean norm is above `most`."""
    for weight in weights:
        weight.copy_(torch.renorm(weight, 2, 0, most))
