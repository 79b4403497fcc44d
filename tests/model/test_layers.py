"""Each layer's output and gradients, compared with autograd in float64."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlplab.config.torch_signatures import activations
from mlplab.model.layers import Layer, layer_of
from mlplab.model.mlp import Affine

SIZE, WIDTH = 6, 5
KINKS = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0)  # where a piecewise activation changes its formula


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _prepared(module: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Prepare a module like `Steps`: each trained weight has a gradient, of any value."""
    module = module.to(dtype)
    for weight in module.parameters():
        weight.grad = torch.full_like(weight, 7) if weight.requires_grad else None
    return module


def _by_layer(module: nn.Module, features: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Return the output, and the gradients of the input and the weights."""
    layer: Any = layer_of(module, given := features.clone())
    found = _run(layer, gradient.clone())
    assert torch.equal(given, features)  # the layer before may need it
    return layer.output, found, [weight.grad for weight in module.parameters()]


def _run(layer: Layer, gradient: Tensor) -> Tensor:
    """Run forward and backward, and return the gradient of the input."""
    with torch.no_grad():
        found = layer.connect(gradient, is_first=False)
        for call in [*layer.forward, *layer.backward]:
            call()
    return found


def _by_autograd(module: nn.Module, features: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    features = features.clone().requires_grad_()
    output = module(features)
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    found, *own = torch.autograd.grad(output, [features, *weights], gradient)
    by_weight = dict(zip(weights, own, strict=True))
    return output.detach(), found, [by_weight.get(weight) for weight in module.parameters()]


def _assert_right(module: nn.Module, features: Tensor, seed: int = 1) -> None:
    reference = copy.deepcopy(module)
    module = _prepared(module, features.dtype)
    reference = reference.to(features.dtype)
    gradient = _random(*reference(features).shape, seed=seed)
    reference.load_state_dict(module.state_dict())  # of what `reference(features)` has moved
    found, expected = _by_layer(module, features, gradient), _by_autograd(reference, features, gradient)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(module.state_dict(), reference.state_dict(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(activations() - {"RReLU"}))
def test_activations(name: str) -> None:
    values = torch.cat([torch.tensor(KINKS, dtype=torch.float64), _random(13), torch.tensor([-40.0, 40.0]).double()])
    _assert_right(getattr(nn, name)(), values.view(4, 6))


class Doubled(nn.ReLU):
    """A subclass of a known layer."""

    def forward(self, features: Tensor) -> Tensor:
        return 2 * super().forward(features)


@pytest.mark.parametrize("size", [2, SIZE])
@pytest.mark.parametrize(
    "module",
    [
        *(nn.GELU("tanh"), nn.LeakyReLU(0.3), nn.ELU(2.0), nn.Hardtanh(-2, 0.5), nn.Softplus(3.0), nn.PReLU(WIDTH)),
        *(nn.BatchNorm1d(WIDTH), nn.BatchNorm1d(WIDTH, affine=False)),
        *(Doubled(), Affine(WIDTH), nn.LayerNorm(WIDTH), nn.Sequential(nn.Linear(WIDTH, 3), nn.Tanh())),
    ],
)
def test_any_other_module(module: nn.Module, size: int) -> None:
    _assert_right(copy.deepcopy(module), 3 * _random(size, WIDTH) + 1)


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias")])
def test_frozen_weights_have_no_gradient_and_pass_one_on(frozen: tuple[str, ...]) -> None:
    for module in (nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), Affine(WIDTH)):
        for name in frozen:
            getattr(module, name).requires_grad_(False)
        _assert_right(module, _random(SIZE, WIDTH))


def test_a_sum_over_many_images_is_taken_in_32_bits() -> None:
    """Integers above 256 are not exact in bfloat16."""
    module = _prepared(nn.Linear(1, 1), torch.float32)
    ones = torch.ones(1000, 1, dtype=torch.bfloat16)
    _run(layer_of(module, ones), ones.clone())
    assert module.bias.grad.item() == 1000


def test_a_batch_of_one_image_has_no_variance() -> None:
    with pytest.raises(ValueError, match="a batch of one image"):
        layer_of(nn.BatchNorm1d(WIDTH), _random(1, WIDTH))
