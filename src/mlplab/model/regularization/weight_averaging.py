"""Weight averaging: averages of the weights are used for validation, test and prediction."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage(nn.Module):
    """An average of the weights and buffers of a network; initially a copy of them."""

    n_averaged: Tensor  # number of averaged states, ()

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("n_averaged", torch.tensor(0))

    def follow(self, network: nn.Module) -> Callable[[], None]:
        """Average `network`, whose tensors must stay in place; return the function to call after each step."""
        self.averages = [*self.module.parameters(), *self.module.buffers()]
        self.values = [*network.parameters(), *network.buffers()]
        self.count = int(self.n_averaged)
        return self.after_step

    def after_step(self) -> None:
        """Update the average after a step, if it is an average over steps."""

    def after_block(self, progress: float, is_epoch_over: bool) -> None:
        """Update the average after a block, if it is over epochs; `progress`: fraction of epochs, with this one."""

    def _take_in(self, share: float) -> None:
        self._move(share)
        self.count += 1
        self.n_averaged.fill_(self.count)

    @torch.no_grad()
    def _move(self, share: float) -> None:
        """Move each average by a fraction of the way to its value; counts are copied."""
        for average, value in zip(self.averages, self.values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.copy_(value)


class Ema(WeightAverage):
    """Exponential average over steps, including the running statistics of batch norm (Tarvainen and Valpola 2017).

    Step n moves it towards the weights by 1 - decay, or by 1/n if that is more, so that it begins as the plain mean.
    """

    def __init__(self, network: nn.Sequential, decay: float) -> None:
        super().__init__(network)
        self.decay = decay

    def after_step(self) -> None:
        self._take_in(max(1 / (self.count + 1), 1 - self.decay))


class Swa(WeightAverage):
    """Mean over the ends of all epochs after a fraction `start` of them (Izmailov et al. 2018).

    Before the first of these it equals the weights. Statistics of batch norm are recomputed with the mean weights, see
    `mlplab.model.regularization.batch_norm`.
    """

    def __init__(self, network: nn.Sequential, start: float) -> None:
        super().__init__(network)
        self.start = start

    @property
    def is_mean(self) -> bool:
        """Tell whether its weights are a mean, so that the statistics of batch norm must be recomputed."""
        return bool(self.count)

    def after_block(self, progress: float, is_epoch_over: bool) -> None:
        if is_epoch_over and progress > self.start:
            self._take_in(1 / (self.count + 1))
        elif not self.count:
            self._move(1)


def make_average(network: nn.Sequential, averaging: Mapping[str, Any] | None) -> WeightAverage | None:
    """Make the average that `averaging` names; None if it names none.

    Args:
        network: to average.
        averaging: `name` "ema" and `decay`, or "swa" and `start`, both from 0 to below 1.

    Raises:
        ValueError: if there is no such average or key, or a value is out of range.
    """
    if not isinstance(averaging, Mapping | None):
        raise ValueError(f"`averaging` must be a mapping, such as {{'name': 'ema'}}, got {averaging!r}")
    chosen = {"name": None, "decay": 0.999, "start": 0.75, **(averaging or {})}
    if unknown := chosen.keys() - {"name", "decay", "start"}:
        raise ValueError(f"`averaging` must have the keys name, decay, start, got {', '.join(sorted(unknown))}")
    if chosen["name"] not in (None, "ema", "swa"):
        raise ValueError(f"`averaging` must name ema or swa, got {chosen['name']!r}")
    if not (0 <= chosen["decay"] < 1 and 0 <= chosen["start"] < 1):
        raise ValueError(
            "`averaging` must have decay and start from 0 to below 1, got {decay} and {start}".format(**chosen)
        )
    if chosen["name"] == "ema":
        return Ema(network, chosen["decay"])
    return Swa(network, chosen["start"]) if chosen["name"] == "swa" else None
