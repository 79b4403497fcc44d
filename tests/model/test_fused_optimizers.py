"""Optimizers with one fused call, compared with those of torch.optim."""

import copy
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from mlplab.model import fused_optimizers
from mlplab.model.fused_optimizers import optimizer_class

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {"weight_decay": 0.1}),
    ("AdamW", {"lr": 0.02, "amsgrad": True, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.002, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"maximize": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
]
PLAIN = ("Adam", "AdamW", "RMSprop", "SGD")


def _weights() -> list[nn.Parameter]:
    """Make a matrix stored by columns, like the first one of an MLP, one stored by rows, and a bias."""
    generator = torch.Generator().manual_seed(0)
    by_columns = torch.randn(7, 5, generator=generator).t()
    rest = [torch.randn(size, generator=generator) for size in ((4, 5), (5,))]
    return [nn.Parameter(values) for values in (by_columns, *rest)]


def _set_gradients(weights: Iterable[Tensor], step: int) -> None:
    """Set gradients of very different sizes, as in a network."""
    generator = torch.Generator().manual_seed(step)
    for place, weight in enumerate(weights):
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.copy_(torch.randn(weight.shape, generator=generator) * 10.0 ** -(3 * place))


def _params(optimizer: optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _train(optimizer: optim.Optimizer, steps: range) -> None:
    for step in steps:
        _set_gradients(_params(optimizer), step)
        optimizer.step()


def _pair(name: str, arguments: dict[str, Any]) -> tuple[optim.Optimizer, optim.Optimizer]:
    """Return a fused optimizer and torch's own, after the same steps."""
    ours = getattr(fused_optimizers, name)(_weights(), **arguments)
    return ours, getattr(optim, name)(_weights(), **arguments, foreach=False)


def _assert_same(one: optim.Optimizer, other: optim.Optimizer) -> None:
    torch.testing.assert_close(_params(one), _params(other), rtol=1e-6, atol=1e-6)
    states, expected_states = (optimizer.state_dict()["state"] for optimizer in (one, other))
    assert states.keys() == expected_states.keys()
    for key, expected in expected_states.items():
        assert states[key].keys() == expected.keys()
        torch.testing.assert_close(states[key], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "arguments"), KINDS)
@pytest.mark.parametrize("ours_first", [True, False])
def test_either_goes_on_from_the_state_of_the_other(name: str, arguments: dict[str, Any], ours_first: bool) -> None:
    first, second = _pair(name, arguments) if ours_first else reversed(_pair(name, arguments))
    whole = getattr(optim, name)(_weights(), **arguments)
    _train(whole, range(1, 31))
    _train(first, range(1, 16))
    _train(second, range(1, 4))  # steps before a state is loaded must not matter
    with torch.no_grad():
        for weight, value in zip(_params(second), _params(first), strict=True):
            weight.copy_(value)
    state = copy.deepcopy(first.state_dict())
    for own in state["state"].values():  # a file may have been written for weights that lie by rows
        own.update({key: value.contiguous() for key, value in own.items()})
    second.load_state_dict(state)
    _train(second, range(16, 31))
    _assert_same(second, whole)


@pytest.mark.parametrize("name", PLAIN)
def test_steps_of_a_block_are_counted_in_the_state_by_its_last(name: str) -> None:
    ours, theirs = _pair(name, {"lr": 0.01})
    for step in range(1, 8):
        _set_gradients(_params(ours), step)
        ours.step() if step == 7 else ours.update()
    _train(theirs, range(1, 8))
    _assert_same(ours, theirs)


@pytest.mark.parametrize(
    ("name", "schedule", "arguments"),
    [
        *((name, "StepLR", {"step_size": 2, "gamma": 0.3}) for name in PLAIN),
        *((name, "OneCycleLR", {"max_lr": 0.1, "total_steps": 30}) for name in ("Adam", "AdamW", "SGD")),
    ],
)
def test_a_rate_and_a_momentum_that_a_schedule_moves_are_those_of_the_next_step(
    name: str, schedule: str, arguments: dict[str, Any]
) -> None:
    pair = _pair(name, {"lr": 0.01, **({"momentum": 0.9} if name == "SGD" else {})})
    for optimizer in pair:
        moving = getattr(optim.lr_scheduler, schedule)(optimizer, **arguments)
        for step in range(1, 30):
            _train(optimizer, range(step, step + 1))
            moving.step()
    _assert_same(*pair)


@pytest.mark.parametrize(
    ("name", "arguments", "cycles_momentum", "home"),
    [
        ("Adam", {"foreach": True}, False, optim),
        ("AdamW", {"capturable": True}, False, optim),
        ("SGD", {"differentiable": True}, False, optim),
        ("RMSprop", {}, True, optim),
        *((name, {"lr": 0.1, "weight_decay": 0.1}, False, fused_optimizers) for name in PLAIN),
        *((name, {}, True, fused_optimizers) for name in ("Adam", "AdamW", "SGD")),
    ],
)
def test_what_a_class_here_does_is_done_by_it_and_the_rest_by_that_of_torch(
    name: str, arguments: dict[str, Any], cycles_momentum: bool, home: Any
) -> None:
    assert optimizer_class(name, arguments, cycles_momentum) is getattr(home, name)


@pytest.mark.parametrize("name", ["_fused_adam_", "_fused_adamw_", "_fused_sgd_"])
def test_torch_has_the_kernels_that_it_keeps_to_itself(name: str) -> None:
    assert hasattr(torch, name), f"torch {torch.__version__} lacks torch.{name}, which fused_optimizers calls"
