"""Signatures read from source files, compared with the libraries."""

import inspect
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn, optim

from mlplab.config import torch_signatures


def _signature(kind: type) -> dict[str, tuple[bool, Any]]:
    """Return for each argument whether it is required, and its default."""
    parameters = inspect.signature(kind).parameters.values()
    return {
        parameter.name: (True, None) if parameter.default is parameter.empty else (False, parameter.default)
        for parameter in parameters
    }


def _read(arguments: torch_signatures.Arguments) -> dict[str, tuple[bool, Any]]:
    return {name: (argument.required, argument.default) for name, argument in arguments.items()}


@pytest.mark.parametrize("name", sorted(torch_signatures.optimizers()))
def test_arguments_of_an_optimizer_are_those_of_its_class(name: str) -> None:
    expected = _signature(getattr(optim, name))
    del expected["params"]
    assert _read(torch_signatures.optimizers()[name]) == expected


@pytest.mark.parametrize("name", sorted(torch_signatures.schedulers()))
def test_arguments_of_a_schedule_are_those_of_its_class(name: str) -> None:
    expected = _signature(getattr(optim.lr_scheduler, name))
    del expected["optimizer"]
    expected.pop("last_epoch", None)
    assert _read(torch_signatures.schedulers()[name]) == expected


def test_no_optimizer_is_left_out() -> None:
    classes = {
        name for name, kind in vars(optim).items() if inspect.isclass(kind) and issubclass(kind, optim.Optimizer)
    }
    assert classes - set(torch_signatures.optimizers()) == {"Optimizer", "SparseAdam", "Muon"} & classes


def test_no_schedule_is_left_out() -> None:
    wanted = {"CosineAnnealingLR", "OneCycleLR", "StepLR", "ReduceLROnPlateau", "ExponentialLR", "CyclicLR"}
    assert wanted <= set(torch_signatures.schedulers())
    assert not {"LRScheduler", "LambdaLR", "SequentialLR", "ChainedScheduler"} & set(torch_signatures.schedulers())


@pytest.mark.parametrize("name", sorted(torch_signatures.activations()))
def test_an_activation_is_elementwise_and_needs_no_argument(name: str) -> None:
    activation = getattr(nn, name)().eval()
    values, order = torch.linspace(-3, 3, 12), torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert activation(values).shape == values.shape
    torch.testing.assert_close(activation(values[order]), activation(values)[order])


def test_the_usual_activations_are_there() -> None:
    assert {"ReLU", "Tanh", "Sigmoid", "GELU", "SiLU", "ELU", "LeakyReLU"} <= torch_signatures.activations()


def test_trainer_flags_are_those_of_lightning() -> None:
    expected = _signature(Trainer)
    for flag in ("callbacks", "plugins", "default_root_dir"):
        del expected[flag]
    assert _read(torch_signatures.trainer_flags()) == expected
