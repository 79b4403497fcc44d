"""Statistics of batch norm, means over the batches of all training images, as the weights are then.

Those that torch keeps in training are averages over past weights, and over images with noise and dropout, or mixed,
which an evaluation does not have (Li et al. 2019, "Understanding the disharmony between dropout and batch
normalization"). Rasmus et al. (2015) and Izmailov et al. (2018) take them anew before they evaluate. Where
distortions are all that changes the images, the running ones are kept.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def batch_norms(network: nn.Sequential) -> list[nn.BatchNorm1d]:
    return [layer for layer in network if isinstance(layer, nn.BatchNorm1d)]


@torch.no_grad()
def renew(network: nn.Sequential, batches: Iterable[Tensor]) -> None:
    """Put the mean over all images in place of the running statistics; nothing is dropped or added.

    Args:
        batches: images (B, C, H, W) as the network takes them; a batch of one has no variance and is left out.
    """
    norms = batch_norms(network)
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
