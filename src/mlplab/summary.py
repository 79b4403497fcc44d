"""The table of layers: name, output shape, parameters."""

from collections.abc import Iterator, Sequence

import torch
from rich.table import Table
from torch import nn


def layers(network: nn.Sequential, image_shape: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """Name, output shape and number of parameters of each, for images of shape (C, H, W), which come first."""
    training = network.training
    network.eval()
    with torch.no_grad():
        outputs = torch.zeros(1, *image_shape, dtype=next(network.parameters()).dtype)  # (1, C, H, W)
        yield "images", _shape(outputs), 0
        for name, layer in network.named_children():
            outputs = layer(outputs)
            yield name, _shape(outputs), sum(parameter.numel() for parameter in layer.parameters())
    network.train(training)


def layer_table(network: nn.Sequential, image_shape: Sequence[int]) -> Table:
    """For the terminal, with the number of all parameters below."""
    table = Table(title_justify="left", show_footer=True)
    table.add_column("layer", "total")
    table.add_column("output shape")
    table.add_column("parameters", f"{_count(network):,}", justify="right")
    for name, shape, parameters in layers(network, image_shape):
        table.add_row(name, shape, "" if name == "images" else f"{parameters:,}")
    return table


def layer_markdown(network: nn.Sequential, image_shape: Sequence[int]) -> str:
    """The same in Markdown."""
    rows = [("layer", "output shape", "parameters"), ("---", "---", "---:")]
    rows += [(name, shape, f"{parameters:,}") for name, shape, parameters in layers(network, image_shape)]
    rows.append(("total", "", f"{_count(network):,}"))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _shape(outputs: torch.Tensor) -> str:
    return f"({', '.join(['B', *map(str, outputs.shape[1:])])})"
