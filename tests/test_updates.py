from typing import Any

import pytest
import torch
from torch import nn, optim

from mlplab import updates

KINDS: list[tuple[type[optim.Optimizer], dict[str, Any]]] = [
    (optim.Adam, {}),
    (optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adam, {"fused": True}),
    (optim.AdamW, {"weight_decay": 0.1}),
    (optim.RMSprop, {}),
    (optim.RMSprop, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    (optim.RMSprop, {"centered": True}),
    (optim.RMSprop, {"momentum": 0.9, "centered": True}),
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
]


def _weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(5, 7, generator=generator)), nn.Parameter(torch.randn(5, generator=generator))]


def _gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(5, 7, generator=generator), torch.randn(5, generator=generator)]


def _by_rule(optimizer: optim.Optimizer, steps: range) -> None:
    rule, group = updates.RULES[type(optimizer)], optimizer.param_groups[0]
    for step in steps:
        numbers = torch.tensor(rule.numbers(group, step)).unbind()
        for weight, gradient in zip(group["params"], _gradients(step), strict=True):
            rule.update(weight.detach(), gradient, updates.state(optimizer, weight), numbers, group)
        updates.count_steps(optimizer, 1)


def _by_torch(optimizer: optim.Optimizer, steps: range) -> None:
    for step in steps:
        for weight, gradient in zip(optimizer.param_groups[0]["params"], _gradients(step), strict=True):
            weight.grad = gradient
        optimizer.step()


def _close(one: optim.Optimizer, other: optim.Optimizer) -> None:
    for weight, expected in zip(one.param_groups[0]["params"], other.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)
    states, expected_states = (optimizer.state_dict()["state"] for optimizer in (one, other))
    assert states.keys() == expected_states.keys()
    for key, expected in expected_states.items():
        found = {name: value for name, value in states[key].items() if value is not None}
        expected = {name: value for name, value in expected.items() if value is not None}
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_a_rule_does_what_torch_does(kind: type[optim.Optimizer], arguments: dict[str, Any]) -> None:
    one, other = kind(_weights(), **arguments), kind(_weights(), **arguments)
    assert updates.obstacle(one) is None
    _by_rule(one, range(1, 41))
    _by_torch(other, range(1, 41))
    _close(one, other)


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_either_goes_on_where_the_other_stopped(kind: type[optim.Optimizer], arguments: dict[str, Any]) -> None:
    one, other = kind(_weights(), **arguments), kind(_weights(), **arguments)
    _by_rule(one, range(1, 11))
    _by_torch(one, range(11, 21))
    _by_torch(other, range(1, 11))
    assert updates.steps_taken(other) == (0 if kind is optim.SGD else 10)
    _by_rule(other, range(11, 21))
    _close(one, other)


@pytest.mark.parametrize(
    ("kind", "arguments", "reason"),
    [
        (optim.Adagrad, {}, "Adagrad"),
        (optim.NAdam, {}, "NAdam"),  # a class that looks like Adam
        (optim.Adam, {"amsgrad": True}, "Adam with amsgrad=True"),
        (optim.SGD, {"momentum": 0.9, "dampening": 0.5}, "SGD with dampening=0.5"),
        (optim.RMSprop, {"maximize": True}, "RMSprop with maximize=True"),
    ],
)
def test_what_there_is_no_rule_for(kind: type[optim.Optimizer], arguments: dict[str, Any], reason: str) -> None:
    found = updates.obstacle(kind(_weights(), lr=0.1, **arguments))
    assert found is not None
    assert reason in found


def test_constants_are_what_a_schedule_does_not_change() -> None:
    optimizer = optim.Adam(_weights())
    before = updates.constants(optimizer)
    optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)  # moves the rate and beta1
    assert updates.constants(optimizer) == before
    assert updates.constants(optim.Adam(_weights(), eps=1e-3)) != before
    assert updates.constants(optim.Adam(_weights(), betas=(0.9, 0.99))) != before
    assert updates.constants(optim.AdamW(_weights(), weight_decay=0)) != before
