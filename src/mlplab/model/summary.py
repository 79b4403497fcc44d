"""The name of a network, and the table of its layers: name, output shape, parameters."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn


def layers(network: nn.Sequential, image_shape: Sequence[int]) -> Iterator[tuple[str, nn.Module | None, torch.Size]]:
    """Yield name, module and output shape, without the batch, of each layer; the images (C, H, W) come first."""
    training = network.training
    network.eval()
    with torch.no_grad():
        outputs = torch.zeros(1, *image_shape, dtype=next(network.parameters()).dtype)  # (1, C, H, W)
        yield "images", None, outputs.shape[1:]
        for name, layer in network.named_children():
            outputs = layer(outputs)
            yield name, layer, outputs.shape[1:]
    network.train(training)


def network_name(network: nn.Sequential) -> str:
    """Name a network by the widths of its layers: `784-512-10`."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    return "-".join(str(width) for width in (linear[0].in_features, *(layer.out_features for layer in linear)))


def layer_table(network: nn.Sequential, image_shape: Sequence[int]) -> str:
    """Make an aligned Markdown table in ASCII; its last row is the total number of parameters."""
    rows = [("layer", "output shape", "parameters")]
    for name, layer, shape in layers(network, image_shape):
        rows.append((name, f"({', '.join(['B', *map(str, shape)])})", "" if layer is None else f"{_count(layer):,}"))
    rows.append(("total", "", f"{_count(network):,}"))
    a, b, c = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"| {name:{a}} | {shape:{b}} | {count:>{c}} |" for name, shape, count in rows]
    return "\n".join([lines[0], f"| {'-' * a} | {'-' * b} | {'-' * (c - 1)}: |", *lines[1:]])


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
