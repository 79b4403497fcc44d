from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlplab.model.mlp import MLP
from mlplab.model.summary import layer_table


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
    *rows, (name, _, total) = _cells(layer_table(network, (1, 28, 28)))
    assert [row[2] for row in rows if row[2] not in ("", "0")] == [f"{count:,}" for count in counts]
    assert (name, total) == ("total", f"{sum(counts):,}")


def _cells(table: str) -> list[list[str]]:
    """Return the cells of the lines below the headings."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_table_names_layers_and_their_shapes() -> None:
    network = MLP([12, 7], dropout=0.5, activation="Tanh", image_shape=(3, 4, 5))
    table = layer_table(network, (3, 4, 5))
    assert all(layer.training for layer in network.modules())  # it leaves them as they were
    names, shapes, _ = zip(*_cells(table), strict=True)
    assert names == (
        "images", "flatten", "linear1", "tanh1", "dropout1", "linear2", "tanh2", "dropout2", "logits", "total",
    )  # fmt: skip
    assert shapes == ("(B, 3, 4, 5)", "(B, 60)", *["(B, 12)"] * 3, *["(B, 7)"] * 3, "(B, 10)", "")


def test_forward_is_the_one_of_the_blackboard(images: Tensor) -> None:
    network = MLP([16, 12])
    w1, b1, w2, b2, w3, b3 = (p.detach().double() for p in network.parameters())
    x = images.double().reshape(6, 784)
    by_hand = ((x @ w1.T + b1).clamp(min=0) @ w2.T + b2).clamp(min=0) @ w3.T + b3
    torch.testing.assert_close(network(images), by_hand.float())
    regression = MLP([])
    weight, bias = regression.parameters()
    torch.testing.assert_close(regression(images), images.flatten(1) @ weight.T + bias)


@pytest.mark.parametrize(
    ("dropout", "rates"), [(0.3, [0.3, 0.3]), ([0.3], [0.3, 0.3]), ([0.1, 0.4], [0.1, 0.4]), ([0, 0.4], [0.4]), (0, [])]
)
def test_one_rate_or_one_per_layer(dropout: float | list[float], rates: list[float]) -> None:
    network = MLP([8, 8], dropout=dropout)
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == rates


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": [512, 0]}, r"`hidden` must be widths of at least 1, got \[512, 0\]"),
        ({"hidden": [8], "dropout": 1.0}, r"`dropout` must be from 0 to below 1, got \[1.0\]"),
        ({"hidden": [8], "dropout": -0.1}, r"`dropout` must be from 0 to below 1, got \[-0.1\]"),
        ({"hidden": [8], "dropout": [0.1, 0.2]}, r"`dropout` must be one rate, or 1 for 1 layers, got \[0.1, 0.2\]"),
        ({"hidden": [8], "input_dropout": 1.0}, "input_dropout"),
        ({"hidden": [8], "input_dropout": -0.1}, "input_dropout"),
        ({"hidden": [8], "input_noise": -1.0}, "input_noise"),
        ({"hidden": [8], "hidden_noise": -1.0}, "hidden_noise"),
    ],
)
def test_impossible_networks_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(**arguments)


def test_noise_lies_on_pixels_and_before_activations() -> None:
    arguments: dict[str, Any] = {"dropout": 0.5, "image_shape": (1, 2, 2)}
    full = MLP([4], **arguments, batch_norm=True, input_dropout=0.1, input_noise=0.2, hidden_noise=0.3)
    assert [name for name, _ in full.named_children()] == [
        *("flatten", "input_dropout", "input_noise"),
        *("linear1", "batch_norm1", "noise1", "affine1", "relu1", "dropout1", "logits"),
    ]
    assert (full.input_noise.std, full.noise1.std, full.input_dropout.p) == (0.2, 0.3, 0.1)
    assert [name for name, _ in MLP([4], **arguments).named_children()] == [
        *("flatten", "linear1", "relu1", "dropout1", "logits"),
    ]


NOISY = ("flatten", "linear1", "batch_norm1", "noise1", "affine1")


def test_a_larger_scale_does_not_drown_the_noise() -> None:
    """The deviation of the noise stays relative to its input, whatever scale and shift are learned."""
    torch.manual_seed(0)
    mlp = MLP([3], image_shape=(1, 2, 2), batch_norm=True, hidden_noise=0.5)
    nn.init.uniform_(mlp.affine1.weight, 5, 10)
    nn.init.uniform_(mlp.affine1.bias, -5, 5)
    nn.init.uniform_(mlp.linear1.weight, 5, 10)
    before_activation = nn.Sequential(*(mlp.get_submodule(name) for name in NOISY))
    images = torch.rand(100_000, 1, 2, 2)
    noisy = before_activation.train()(images)
    mlp.noise1.eval()
    signal = before_activation(images)
    assert torch.equal(before_activation(images), signal)
    noise = (noisy - signal) / signal.std(dim=0)
    torch.testing.assert_close(noise.mean(dim=0), torch.zeros(3), rtol=0, atol=5 * 0.5 / 1e5**0.5)
    torch.testing.assert_close(noise.std(dim=0), torch.full((3,), 0.5), rtol=0.02, atol=0)
    assert sum(name.endswith("bias") for name, _ in mlp.named_parameters()) == 2  # of the hidden layer one
