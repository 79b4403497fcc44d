import base64
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlplab.data.image_dataset import DatasetInfo
from mlplab.draw import page, weights
from mlplab.errors import CheckpointError
from mlplab.model.export.plain_network import PlainNetwork, dense_layers
from mlplab.model.mlp import MLP

NETWORKS = (
    MLP([9, 7]),
    MLP([]),
    MLP([9, 7], batch_norm=True, dropout=0.4, input_noise=0.2, input_dropout=0.1),
    MLP([9, 7], batch_norm=True, hidden_noise=0.3),
)


def normalized(pixels: Tensor) -> Tensor:
    return pixels.float() / (255 * 0.31) - 0.13 / 0.31


def plain(network: nn.Sequential) -> PlainNetwork:
    return PlainNetwork(1 / (255 * 0.31), -0.13 / 0.31, dense_layers(network), (28, 28), tuple("0123456789"))


def unpacked(layer: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Weights (inputs, units) and biases, as the page computes them."""
    integers = np.frombuffer(base64.b64decode(layer["weights"]), dtype="<i2").reshape(-1, len(layer["bias"]))
    return torch.from_numpy(integers * np.array(layer["scales"])), torch.tensor(layer["bias"], dtype=torch.float64)


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


def test_packed_layers_compute_the_logits_of_the_network(network: nn.Sequential) -> None:
    pixels = torch.randint(256, (30, 1, 28, 28))
    values = pixels.flatten(1).double()
    *hidden, last = map(unpacked, weights.packed(plain(network)))
    for weight, bias in hidden:
        values = (values @ weight + bias).relu()
    with torch.inference_mode():
        expected = network(normalized(pixels)).double()
    assert torch.allclose(values @ last[0] + last[1], expected, atol=1e-3)


def test_packed_weights_are_within_half_a_step() -> None:
    network = MLP([])
    with torch.no_grad():
        network[-1].weight.mul_(torch.logspace(-3, 3, 10)[:, None])  # type: ignore[operator, union-attr]
    ((weight, _),) = map(unpacked, weights.packed(plain(network)))
    exact = plain(network).layers[0].weight.double() / (255 * 0.31)
    step = exact.abs().amax(dim=0) / 32767
    assert ((weight - exact).abs() <= 0.501 * step).all()
    assert torch.allclose(weight.abs().amax(dim=0), 32767 * step)


def test_a_unit_without_weights_is_zero() -> None:
    network = MLP([])
    nn.init.zeros_(network[-1].weight)  # type: ignore[arg-type, union-attr]
    ((weight, _),) = map(unpacked, weights.packed(plain(network)))
    assert not weight.any()


def test_an_activation_that_has_no_expression_is_refused() -> None:
    info = DatasetInfo((1, 28, 28), tuple("0123456789"), 0.13, 0.31, 20, True)
    with pytest.raises(CheckpointError) as refused:
        page.html("a network", info, plain(MLP([4], activation="Softmax")), (page.NO_IMAGES, []))
    says = "model.activation=Softmax: the page cannot compute it, only one of CELU, "
    assert str(refused.value).startswith(says)
    assert len(str(refused.value).splitlines()) == 1


def test_examples_are_the_first_of_each_class() -> None:
    assert page.chosen([1, 0, 1, 2, 0, 0], 3) == [1, 4, 5, 0, 2, 3]
    many = torch.arange(300).remainder(47).tolist()
    assert [many[row] for row in page.chosen(many, 47)] == list(range(47))
    assert len(page.chosen(torch.arange(300).remainder(10).tolist(), 10)) == 20
