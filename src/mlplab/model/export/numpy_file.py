"""Arrays, and a program of plain numpy that classifies images with them."""

import io
import runpy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mlplab.errors import ConfigError
from mlplab.model.export.plain_network import PlainNetwork

# Expressions of z for each class of torch.nn; `f` is the module.
ACTIVATIONS = {
    "CELU": "np.where(z > 0, z, {f.alpha} * np.expm1(np.minimum(z, 0) / {f.alpha}))",
    "ELU": "np.where(z > 0, z, {f.alpha} * np.expm1(np.minimum(z, 0)))",
    "GELU": "z * (1 + np.vectorize(math.erf, [np.float32])(z / 2**0.5)) / 2",  # numpy has no erf
    "Hardshrink": "np.where(np.abs(z) > {f.lambd}, z, 0)",
    "Hardsigmoid": "np.clip(z / 6 + 0.5, 0, 1)",
    "Hardswish": "z * np.clip(z / 6 + 0.5, 0, 1)",
    "Hardtanh": "np.clip(z, {f.min_val}, {f.max_val})",
    "LeakyReLU": "np.where(z > 0, z, {f.negative_slope} * z)",
    "LogSigmoid": "-np.logaddexp(0, -z)",
    "Mish": "z * np.tanh(np.logaddexp(0, z))",
    "PReLU": 'np.where(z > 0, z, network[f"slope{{n}}"] * z)',
    "ReLU": "np.maximum(z, 0)",
    "ReLU6": "np.clip(z, {f.min_val}, {f.max_val})",
    "SELU": "1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0)))",
    "SiLU": "z * (1 + np.tanh(z / 2)) / 2",
    "Sigmoid": "(1 + np.tanh(z / 2)) / 2",
    "Softplus": "np.logaddexp(0, z)",
    "Softshrink": "np.sign(z) * np.maximum(np.abs(z) - {f.lambd}, 0)",
    "Softsign": "z / (1 + np.abs(z))",
    "Tanh": "np.tanh(z)",
    "Tanhshrink": "z - np.tanh(z)",
}


PROGRAM = '''\
# Exported by mlplab: classifies images with the .npz file of the same name; needs only numpy. If this is network.py:
#     from network import classes, probabilities
#     print(classes[probabilities(pixels).argmax(axis=1)])
{imports}from pathlib import Path

import numpy as np

network = dict(np.load(Path(__file__).with_suffix(".npz")))
classes = network["classes"]  # ({outputs},)


def probabilities(pixels):
    """Pixels from 0 to 255, ({shape}) -> probabilities (N, {outputs})."""
    x = pixels.reshape(len(pixels), -1).astype(np.float32) * network["factor"] + network["shift"]
{hidden}    z = x @ network["weight{last}"] + network["bias{last}"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
'''
HIDDEN = """\
    for n in range(1, {last}):
        z = x @ network[f"weight{{n}}"] + network[f"bias{{n}}"]
        x = {activation}
"""


def contents(network: PlainNetwork) -> list[bytes]:
    """Return the arrays and the program, for an .npz and a .py file of the same name.

    Raises:
        ConfigError: for an activation that numpy cannot compute in a line.
    """
    program = _program(network)
    arrays: dict[str, Any] = {"mlplab_version": version("mlplab")}  # the first name marks the file as mlplab's
    arrays |= {"classes": network.classes, **network.arrays()}
    for n, layer in enumerate(network.layers, start=1):
        if isinstance(layer.activation, nn.PReLU):
            arrays[f"slope{n}"] = layer.activation.weight.detach().numpy()
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return [file.getvalue(), program.encode()]


def probabilities(path: Path, pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Run the program on pixels (N, H, W) uint8; return probabilities (N, K)."""
    return np.asarray(runpy.run_path(str(path.with_suffix(".py")))["probabilities"](pixels))


def _program(network: PlainNetwork) -> str:
    *hidden, _ = network.layers
    last, activation = len(network.layers), _activation(hidden[0].activation) if hidden else ""
    return PROGRAM.format(
        imports="import math\n" if "math." in activation else "",
        shape=", ".join(map(str, ("N", *network.image_shape))),
        outputs=len(network.classes),
        hidden=HIDDEN.format(last=last, activation=activation) if hidden else "",
        last=last,
    )


def _activation(module: nn.Module | None) -> str:
    """Return the activation as an expression of z; all layers have the same."""
    name = type(module).__name__
    if name not in ACTIVATIONS:
        raise ConfigError(f"--to numpy: {name} is not a line of numpy. Use --to torch.")
    return ACTIVATIONS[name].format(f=module)
