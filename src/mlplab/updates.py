"""The update rules of torch.optim as pure functions, so that a compiled graph can hold them.

A rule keeps its state where torch.optim keeps it and under the same names, so either can go on where the other stopped.
What a schedule may change from step to step (the rate, and momentum in OneCycleLR) is an input of the graph; the rest
is a constant in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, optim

Group = Mapping[str, Any]  # an entry of an optimizer's param_groups


class Rule(Protocol):
    """How one kind of optimizer changes a weight."""

    counts_steps: bool  # whether torch.optim keeps the number of steps in its state

    def buffers(self, group: Group) -> list[str]:
        """Names of the tensors it keeps for each weight, of the weight's shape and zero at first."""

    def numbers(self, group: Group, step: int) -> list[float]:
        """What changes from step to step, the rate first; `step` counts from 1."""

    def update(
        self, weight: Tensor, gradient: Tensor, buffers: Sequence[Tensor], numbers: Sequence[Tensor], group: Group
    ) -> None:
        """Change `weight` and `buffers` in place; `numbers` are tensors of shape ()."""


class Adam:
    """Kingma and Ba (2015); with decoupled decay AdamW, Loshchilov and Hutter (2019)."""

    counts_steps = True

    def buffers(self, group: Group) -> list[str]:
        return ["exp_avg", "exp_avg_sq"]

    def numbers(self, group: Group, step: int) -> list[float]:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        return [lr, lr / (1 - beta1**step), (1 - beta2**step) ** 0.5, 1 - beta1]

    def update(
        self, weight: Tensor, gradient: Tensor, buffers: Sequence[Tensor], numbers: Sequence[Tensor], group: Group
    ) -> None:
        (mean, square), (lr, size, correction, share) = buffers, numbers
        beta2, decay = group["betas"][1], group["weight_decay"]
        if decay and group.get("decoupled_weight_decay"):
            weight.mul_(1 - lr * decay)
        elif decay:
            gradient = gradient + decay * weight
        mean.add_(share * (gradient - mean))
        square.mul_(beta2).add_((1 - beta2) * gradient * gradient)
        weight.sub_(size * mean / (square.sqrt() / correction + group["eps"]))


class RMSprop:
    """Hinton's lecture 6e (2012); centered, Graves (2013)."""

    counts_steps = True

    def buffers(self, group: Group) -> list[str]:
        optional = {"momentum_buffer": group["momentum"] > 0, "grad_avg": group["centered"]}
        return ["square_avg", *(name for name, wanted in optional.items() if wanted)]

    def numbers(self, group: Group, step: int) -> list[float]:
        return [group["lr"], group["momentum"]]

    def update(
        self, weight: Tensor, gradient: Tensor, buffers: Sequence[Tensor], numbers: Sequence[Tensor], group: Group
    ) -> None:
        kept, (lr, momentum) = dict(zip(self.buffers(group), buffers, strict=True)), numbers
        alpha = group["alpha"]
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * weight
        square = kept["square_avg"]
        square.mul_(alpha).add_((1 - alpha) * gradient * gradient)
        if "grad_avg" in kept:
            mean = kept["grad_avg"]
            mean.add_((1 - alpha) * (gradient - mean))
            square = square - mean * mean
        change = gradient / (square.sqrt() + group["eps"])
        if "momentum_buffer" in kept:
            change = kept["momentum_buffer"].mul_(momentum).add_(change)
        weight.sub_(lr * change)


class SGD:
    """With momentum, and Nesterov's as in Sutskever et al. (2013)."""

    counts_steps = False

    def buffers(self, group: Group) -> list[str]:
        return ["momentum_buffer"] if group["momentum"] else []

    def numbers(self, group: Group, step: int) -> list[float]:
        return [group["lr"], group["momentum"]]

    def update(
        self, weight: Tensor, gradient: Tensor, buffers: Sequence[Tensor], numbers: Sequence[Tensor], group: Group
    ) -> None:
        lr, momentum = numbers
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * weight
        for velocity in buffers:
            velocity.mul_(momentum).add_(gradient)
            gradient = gradient + momentum * velocity if group["nesterov"] else velocity
        weight.sub_(lr * gradient)


RULES: dict[type[optim.Optimizer], Rule] = {
    optim.Adam: Adam(),
    optim.AdamW: Adam(),
    optim.RMSprop: RMSprop(),
    optim.SGD: SGD(),
}

# Arguments that these rules do not know, and the values at which they mean nothing.
UNKNOWN = {"amsgrad": False, "maximize": False, "capturable": False, "differentiable": False, "dampening": 0}


def obstacle(optimizer: optim.Optimizer) -> str | None:
    """Why there is no rule for `optimizer`; None if there is one."""
    if type(optimizer) not in RULES:
        return f"not written for {type(optimizer).__name__}"
    group = optimizer.param_groups[0]
    for argument, neutral in UNKNOWN.items():
        if group.get(argument, neutral) != neutral:
            return f"not written for {type(optimizer).__name__} with {argument}={group[argument]}"
    return None


def state(optimizer: optim.Optimizer, weight: Tensor) -> list[Tensor]:
    """The buffers of `weight` in the optimizer's state, made if it has not stepped yet."""
    rule, group = RULES[type(optimizer)], optimizer.param_groups[0]
    if not rule.counts_steps and not rule.buffers(group):
        return []
    kept = optimizer.state[weight]
    if rule.counts_steps and "step" not in kept:
        device = weight.device if group.get("fused") else torch.device("cpu")
        kept["step"] = torch.zeros((), dtype=torch.float32, device=device)
    for name in rule.buffers(group):
        if kept.get(name) is None:  # SGD notes a None
            kept[name] = torch.zeros_like(weight, memory_format=torch.preserve_format)
    return [kept[name] for name in rule.buffers(group)]


def constants(optimizer: optim.Optimizer) -> list[object]:
    """What its rule takes as constants."""
    group = optimizer.param_groups[0]
    names = ("eps", "weight_decay", "alpha", "centered", "nesterov", "decoupled_weight_decay")
    buffers = RULES[type(optimizer)].buffers(group)
    return [buffers, group.get("betas", ())[1:], [(name, group[name]) for name in names if name in group]]


def steps_taken(optimizer: optim.Optimizer) -> int:
    """How often the optimizer has stepped, by its own count; 0 for one that does not count."""
    kept: dict[str, Any] = next(iter(optimizer.state.values()), {})
    return int(kept.get("step", 0))


def count_steps(optimizer: optim.Optimizer, steps: int) -> None:
    """Add to the optimizer's own count."""
    if RULES[type(optimizer)].counts_steps:
        for kept in optimizer.state.values():
            kept["step"] += steps
