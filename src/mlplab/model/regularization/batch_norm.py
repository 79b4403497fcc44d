"""Statistics of batch norm for evaluation: means over the batches of all training images, with the current weights.

torch's running statistics are averages over past weights, and over images with noise, dropout or mixup, which an
evaluation does not have (Li et al. 2019, "Understanding the disharmony between dropout and batch normalization").
Rasmus et al. (2015) and Izmailov et al. (2018) recompute them before they evaluate. If images are changed by
distortions only, the running statistics are kept.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mlplab.model.mlp import GaussianNoise


def draws(network: nn.Sequential) -> bool:
    """Tell whether a network draws random numbers in training."""
    return any(isinstance(layer, nn.Dropout | nn.RReLU | GaussianNoise) for layer in network)


@torch.no_grad()
def renew(network: nn.Sequential, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics, if there are any, by means over all images, without dropout and noise.

    Args:
        network: its statistics are replaced.
        batches: normalised images (B, C, H, W); a batch of one has no variance and is skipped.
    """
    norms = [layer for layer in network if isinstance(layer, nn.BatchNorm1d)]
    if not norms:
        return
    momenta, was_training = [norm.momentum for norm in norms], network.training
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    for images in batches:
        if len(images) == 1:
            continue
        seen += len(images)
        for norm in norms:
            norm.momentum = len(images) / seen
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)
