from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlplab.mlp import MLP
from mlplab.summary import layer_table


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("hidden", "counts"),
    [
        ([100], [78_500, 1_010]),
        ([128], [100_480, 1_290]),
        ([512, 512], [401_920, 262_656, 5_130]),
        ([], [7_850]),
    ],
)
def test_parameters_are_the_published_ones(hidden: list[int], counts: list[int]) -> None:
    network = MLP(hidden)
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers] == counts
    table = layer_table(network, (1, 28, 28))
    rows = list(table.columns[2].cells)
    assert [row for row in rows if row not in ("", "0")] == [f"{count:,}" for count in counts]
    assert table.columns[2].footer == f"{sum(counts):,}"


@pytest.mark.parametrize(("hidden", "total"), [([100], 79_510), ([128], 101_770), ([512, 512], 669_706)])
def test_total_is_the_published_one(hidden: list[int], total: int) -> None:
    assert sum(parameter.numel() for parameter in MLP(hidden).parameters()) == total


def test_table_names_layers_and_their_shapes() -> None:
    table = layer_table(MLP([12, 7], dropout=0.5, activation="Tanh", image_shape=(3, 4, 5)), (3, 4, 5))
    assert list(table.columns[0].cells) == [
        "images", "flatten", "linear1", "tanh1", "dropout1", "linear2", "tanh2", "dropout2", "logits",
    ]  # fmt: skip
    shapes = list(table.columns[1].cells)
    assert shapes == ["(B, 3, 4, 5)", "(B, 60)", *["(B, 12)"] * 3, *["(B, 7)"] * 3, "(B, 10)"]


def test_table_leaves_the_network_in_training_mode() -> None:
    network = MLP([4], dropout=0.5)
    layer_table(network, (1, 28, 28))
    assert all(layer.training for layer in network.modules())


def test_forward_is_the_one_of_the_blackboard(images: Tensor) -> None:
    network = MLP([16, 12])
    w1, b1, w2, b2, w3, b3 = (p.detach().double() for p in network.parameters())
    x = images.double().reshape(6, 784)
    by_hand = ((x @ w1.T + b1).clamp(min=0) @ w2.T + b2).clamp(min=0) @ w3.T + b3
    torch.testing.assert_close(network(images), by_hand.float())


def test_no_hidden_layer_is_softmax_regression(images: Tensor) -> None:
    network = MLP([])
    weight, bias = network.parameters()
    torch.testing.assert_close(network(images), images.flatten(1) @ weight.T + bias)


def test_permuting_the_batch_permutes_the_output(images: Tensor) -> None:
    network = MLP([16])
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(network(images[order]), network(images)[order])


def test_dropout_works_in_training_only(images: Tensor) -> None:
    network = MLP([64], dropout=0.5)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize(
    ("dropout", "rates"), [(0.3, [0.3, 0.3]), ([0.3], [0.3, 0.3]), ([0.1, 0.4], [0.1, 0.4]), ([0, 0.4], [0.4]), (0, [])]
)
def test_one_rate_or_one_per_layer(dropout: float | list[float], rates: list[float]) -> None:
    network = MLP([8, 8], dropout=dropout)
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == rates


def test_other_images_and_classes() -> None:
    logits = MLP([5], image_shape=(3, 4, 6), num_classes=7)(torch.zeros(2, 3, 4, 6))
    assert logits.shape == (2, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": [512, 0]}, r"`hidden` must be widths of at least 1, got \[512, 0\]"),
        ({"hidden": [8], "dropout": 1.0}, r"`dropout` must be from 0 to below 1, got \[1.0\]"),
        ({"hidden": [8], "dropout": -0.1}, r"`dropout` must be from 0 to below 1, got \[-0.1\]"),
        ({"hidden": [8], "dropout": [0.1, 0.2]}, r"`dropout` must be one rate, or 1 for 1 layers, got \[0.1, 0.2\]"),
    ],
)
def test_impossible_networks_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(**arguments)
