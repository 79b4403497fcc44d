"""The table of layers: name, output shape, parameters."""

from collections.abc import Iterator, Sequence

import torch
from rich.table import Table
from torch import nn


def layers(network: nn.Sequential, image_shape: Sequence[int]) -> Iterator[tuple[str, nn.Module | None, torch.Size]]:
    """Name, module and output shape, without the batch, of each; first come the images, of shape (C, H, W)."""
    training = network.training
    network.eval()
    with torch.no_grad():
        outputs = torch.zeros(1, *image_shape, dtype=next(network.parameters()).dtype)  # (1, C, H, W)
        yield "images", None, outputs.shape[1:]
        for name, layer in network.named_children():
            outputs = layer(outputs)
            yield name, layer, outputs.shape[1:]
    network.train(training)


def layer_table(network: nn.Sequential, image_shape: Sequence[int]) -> Table:
    """For the terminal, with the number of all parameters below."""
    table = Table(title_justify="left", show_footer=True)
    table.add_column("layer", "total")
    table.add_column("output shape")
    table.add_column("parameters", f"{_count(network):,}", justify="right")
    for name, layer, shape in layers(network, image_shape):
        table.add_row(name, _shape(shape), "" if layer is None else f"{_count(layer):,}")
    return table


def layer_markdown(network: nn.Sequential, image_shape: Sequence[int]) -> str:
    """The same in Markdown."""
    rows = [("layer", "output shape", "parameters"), ("---", "---", "---:")]
    for name, layer, shape in layers(network, image_shape):
        rows.append((name, _shape(shape), "" if layer is None else f"{_count(layer):,}"))
    rows.append(("total", "", f"{_count(network):,}"))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(['B', *map(str, shape)])})"
