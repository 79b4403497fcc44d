"""Files of torch.export, which run without mlplab."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlplab.model.export.plain_network import PlainNetwork


class Probabilities(nn.Module):
    """Pixels (N, H, W) uint8 -> probabilities (N, K)."""

    def __init__(self, network: PlainNetwork) -> None:
        super().__init__()
        self.factor, self.shift = network.factor, network.shift
        modules: list[nn.Module] = []
        for layer in network.layers:
            linear = nn.Linear(*layer.weight.shape)
            linear.weight.data, linear.bias.data = layer.weight.T.contiguous(), layer.bias
            modules += [linear] if layer.activation is None else [linear, layer.activation]
        self.layers = nn.Sequential(*modules).requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.layers(pixels.flatten(1).float() * self.factor + self.shift)
        return logits.softmax(dim=1)


def contents(network: PlainNetwork) -> list[bytes]:
    """Return the file; its extra file classes.json is a list of names."""
    example = torch.zeros(2, *network.image_shape, dtype=torch.uint8)
    sizes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Probabilities(network), (example,), dynamic_shapes=sizes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlplab.pt2"  # this name, stored in the file, marks it as mlplab's
        torch.export.save(program, path, extra_files={"classes.json": json.dumps(network.classes)})
        return [path.read_bytes()]


def probabilities(path: Path, pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Run a file on pixels (N, H, W) uint8; return probabilities (N, K)."""
    result: Tensor = torch.export.load(path).module()(torch.from_numpy(pixels))
    return result.numpy()
