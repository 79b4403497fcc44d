"""The table of layers: name, output shape, parameters."""

from collections.abc import Sequence

import torch
from rich.table import Table
from torch import nn


def layer_table(network: nn.Sequential, image_shape: Sequence[int]) -> Table:
    """One row a layer, for images of shape (C, H, W), and the number of parameters below."""
    table = Table(title_justify="left", show_footer=True)
    total = sum(parameter.numel() for parameter in network.parameters())
    table.add_column("layer", "total")
    table.add_column("output shape")
    table.add_column("parameters", f"{total:,}", justify="right")
    training = network.training
    network.eval()
    with torch.no_grad():
        outputs = torch.zeros(1, *image_shape, dtype=next(network.parameters()).dtype)  # (1, C, H, W)
        table.add_row("images", _shape(outputs), "")
        for name, layer in network.named_children():
            outputs = layer(outputs)
            parameters = sum(parameter.numel() for parameter in layer.parameters())
            table.add_row(name, _shape(outputs), f"{parameters:,}")
    network.train(training)
    return table


def _shape(outputs: torch.Tensor) -> str:
    return f"({', '.join(['B', *map(str, outputs.shape[1:])])})"
