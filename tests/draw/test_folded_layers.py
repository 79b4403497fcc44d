import base64

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlplab.draw import layers, page
from mlplab.errors import CheckpointError
from mlplab.model.mlp import MLP

NETWORKS = (
    MLP([9, 7]),
    MLP([]),
    MLP([9, 7], batch_norm=True, dropout=0.4, input_noise=0.2, input_dropout=0.1),
    MLP([9, 7], batch_norm=True, hidden_noise=0.3),
)


def normalized(pixels: Tensor) -> Tensor:
    return pixels.float() / (255 * 0.31) - 0.13 / 0.31


@pytest.fixture(params=NETWORKS, ids=["plain", "softmax", "batch_norm", "noise"])
def network(request: pytest.FixtureRequest) -> nn.Sequential:
    """A network that has seen images in training, so that its batch norms have statistics."""
    network: nn.Sequential = request.param
    with torch.no_grad():
        for module in network:
            if isinstance(module, nn.BatchNorm1d) and module.affine:
                module.weight.uniform_(0.5, 2)
                module.bias.normal_()
        for _ in range(3):
            network.train()(normalized(torch.randint(256, (20, 1, 28, 28))))
    return network.eval()


def test_folded_layers_compute_the_logits_of_the_network(network: nn.Sequential) -> None:
    pixels = torch.randint(256, (30, 1, 28, 28))
    values = pixels.flatten(1).double()
    for layer in layers.folded(network, normalized):
        values = values @ layer.weight.T + layer.bias
        values = values.relu() if layer.activation else values
    with torch.inference_mode():
        expected = network(normalized(pixels)).double()
    assert torch.allclose(values, expected, atol=1e-4)


def test_packed_weights_are_within_half_a_step() -> None:
    weight = torch.randn(5, 12, dtype=torch.float64) * torch.logspace(-3, 3, 5, dtype=torch.float64)[:, None]
    packed = layers.Layer(weight, torch.zeros(5)).packed()
    integers = np.frombuffer(base64.b64decode(packed["weights"]), dtype="<i2").reshape(12, 5)
    unpacked = integers.T * np.array(packed["scales"])[:, None]
    step = np.abs(weight.numpy()).max(axis=1, keepdims=True) / 32767
    assert (np.abs(unpacked - weight.numpy()) <= 0.501 * step).all()
    assert (np.abs(integers).max(axis=0) == 32767).all()


def test_a_unit_without_weights_is_zero() -> None:
    packed = layers.Layer(torch.zeros(2, 3), torch.ones(2)).packed()
    assert np.frombuffer(base64.b64decode(packed["weights"]), dtype="<i2").tolist() == [0] * 6


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (MLP([4], activation="Softmax"), "model.activation=Softmax: the page cannot compute it, only one of CELU, "),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.LayerNorm(4)), "LayerNorm: the page cannot comp"),
        (nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(4, 4)), "Tanh: the page cannot compute this part"),
    ],
)
def test_other_modules_are_refused(network: nn.Sequential, says: str) -> None:
    with pytest.raises(CheckpointError) as refused:
        layers.folded(network, normalized)
    assert str(refused.value).startswith(says)
    assert len(str(refused.value).splitlines()) == 1


def test_examples_are_the_first_of_each_class() -> None:
    assert page.chosen([1, 0, 1, 2, 0, 0], 3) == [1, 4, 5, 0, 2, 3]
    many = torch.arange(300).remainder(47).tolist()
    assert [many[row] for row in page.chosen(many, 47)] == list(range(47))
    assert len(page.chosen(torch.arange(300).remainder(10).tolist(), 10)) == 20
