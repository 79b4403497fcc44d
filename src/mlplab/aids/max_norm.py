"""Max-norm: the weights into a hidden unit are kept within a ball.

Srivastava et al. (2014), section 5.1, bound those of hidden units: the output layer is free, as are biases.
"""

import torch
from torch import Tensor, nn


def limited_weights(network: nn.Sequential) -> list[bool]:
    """For each parameter of the network, in its own order: is it the weight matrix of a hidden layer?"""
    *hidden, _ = (layer.weight for layer in network if isinstance(layer, nn.Linear))
    return [any(parameter is weight for weight in hidden) for parameter in network.parameters()]


@torch.no_grad()
def limit(weight: Tensor, most: float) -> None:
    """Scale down, in place, each row of `weight` (units, inputs) whose Euclidean norm is above `most`."""
    norms = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # (units, 1)
    weight.mul_((most / norms).clamp(max=1))
