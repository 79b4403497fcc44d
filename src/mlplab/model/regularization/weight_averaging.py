"""Averages of the weights, which validate, test and predict in place of those that are trained.

- ema: exponential, after each step, of weights and of the running statistics of batch norm: step n moves it towards
  the weights after that step by 1 - decay, or by 1/n where that is more, so that it begins as the plain mean (Tarvainen
  and Valpola 2017).
- swa: the plain mean over the weights at the end of each epoch that ends after a share `start` of them (Izmailov et
  al. 2018). Until the first of these the average is the weights themselves. The statistics of batch norm are then taken
  anew, under the mean weights, see `mlplab.model.regularization.batch_norm`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

DEFAULTS: Mapping[str, Any] = {"name": None, "decay": 0.999, "start": 0.75}


def make_average(network: nn.Module, averaging: Mapping[str, Any]) -> AveragedModel | None:
    """An average that begins with the weights of `network`; None if `averaging` names none.

    Args:
        averaging: `name`; `decay` of ema and `start` of swa, from 0 to below 1.

    Raises:
        ValueError: if there is no average of that name, no such key, or a value is out of range.
    """
    if unknown := averaging.keys() - DEFAULTS.keys():
        raise ValueError(f"`averaging` must have the keys {', '.join(DEFAULTS)}, got {', '.join(sorted(unknown))}")
    name, decay, start = (averaging[key] for key in DEFAULTS)
    if name is None:
        return None
    if name not in ("ema", "swa"):
        raise ValueError(f"`averaging` must name ema or swa, got {name!r}")
    if not 0 <= decay < 1 or not 0 <= start < 1:
        raise ValueError(f"`averaging` must have decay and start from 0 to below 1, got {decay} and {start}")

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        move(averages, values, 1 / (int(count) + 1))

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    return average.requires_grad_(False)


class Ema:
    """Moves an average, each time it is called, towards the weights of `network`."""

    def __init__(self, average: AveragedModel, network: nn.Module, decay: float) -> None:
        self.averages = [*average.module.parameters(), *average.module.buffers()]
        self.values = [*network.parameters(), *network.buffers()]
        self.average, self.decay = average, decay
        self.count = int(average.n_averaged)

    def __call__(self) -> None:
        move(self.averages, self.values, max(1 / (self.count + 1), 1 - self.decay))
        self.count += 1
        self.average.n_averaged.fill_(self.count)


@torch.no_grad()
def move(averages: Sequence[Tensor], values: Sequence[Tensor], share: float) -> None:
    """Move each average, in place, by a share of the way to its value; a count, which has no mean, is copied."""
    for average, value in zip(averages, values, strict=True):
        if average.is_floating_point():
            average.lerp_(value, share)
        else:
            average.copy_(value)
