"""ONNX files, written in ONNX's own textual syntax.

torch's exporter would need onnxscript, takes 2.7 s instead of 0.04, and writes a newer format, which ONNX Runtime 1.17
does not read.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mlplab.errors import ConfigError
from mlplab.model.export.plain_network import Dense, PlainNetwork

# Versions of 2023, the oldest with all activations. Older programs refuse newer files.
OPSET, IR_VERSION = 20, 9

CLIP = """low{n} = Constant <value_float = {f.min_val}> ()
    high{n} = Constant <value_float = {f.max_val}> ()
    x{n} = Clip (z{n}, low{n}, high{n})"""
# Statements for each class of torch.nn, from z{n} to x{n}; `f` is the module.
ACTIVATIONS = {
    "CELU": "x{n} = Celu <alpha = {f.alpha}> (z{n})",
    "ELU": "x{n} = Elu <alpha = {f.alpha}> (z{n})",
    "GELU": 'x{n} = Gelu <approximate = "{f.approximate}"> (z{n})',
    "Hardshrink": "x{n} = Shrink <lambd = {f.lambd}> (z{n})",
    "Hardsigmoid": "x{n} = HardSigmoid <alpha = 0.16666667, beta = 0.5> (z{n})",
    "Hardswish": "x{n} = HardSwish (z{n})",
    "Hardtanh": CLIP,
    "LeakyReLU": "x{n} = LeakyRelu <alpha = {f.negative_slope}> (z{n})",
    "LogSigmoid": "minus{n} = Neg (z{n}) soft{n} = Softplus (minus{n}) x{n} = Neg (soft{n})",
    "Mish": "x{n} = Mish (z{n})",
    "PReLU": "x{n} = LeakyRelu <alpha = {f.weight[0]:#.9g}> (z{n})",
    "ReLU": "x{n} = Relu (z{n})",
    "ReLU6": CLIP,
    "SELU": "x{n} = Selu (z{n})",
    "SiLU": "s{n} = Sigmoid (z{n}) x{n} = Mul (z{n}, s{n})",
    "Sigmoid": "x{n} = Sigmoid (z{n})",
    "Softplus": "x{n} = Softplus (z{n})",
    "Softshrink": "x{n} = Shrink <lambd = {f.lambd}, bias = {f.lambd}> (z{n})",
    "Softsign": "x{n} = Softsign (z{n})",
    "Tanh": "x{n} = Tanh (z{n})",
    "Tanhshrink": "t{n} = Tanh (z{n}) x{n} = Sub (z{n}, t{n})",
}


def contents(network: PlainNetwork) -> list[bytes]:
    """Return the file; its metadata have `classes`, a JSON list.

    Raises:
        ConfigError: for an activation without an equivalent.
    """
    from onnx import checker, helper, numpy_helper, parser

    model = parser.parse_model(_text(network))
    arrays = network.arrays().items()
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays)
    helper.set_model_props(model, {"classes": json.dumps(network.classes)})
    checker.check_model(model, full_check=True)
    return [model.SerializeToString()]


def probabilities(path: Path, pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Run a file on pixels (N, H, W) uint8 with onnxruntime; return probabilities (N, K)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"pixels": pixels})
    return np.asarray(result)


def _text(network: PlainNetwork) -> str:
    """Write the model without its arrays, which are inputs of statements by their names."""
    last = len(network.layers)
    statements = [_statements(n, layer) for n, layer in enumerate(network.layers, start=1)]
    return f"""\
<ir_version: {IR_VERSION}, opset_import: ["": {OPSET}], producer_name: "mlplab">
mlp (uint8[N, {", ".join(map(str, network.image_shape))}] pixels) => (float[N, {len(network.classes)}] probabilities) {{
    rows = Flatten (pixels)
    floats = Cast <to = 1> (rows)
    scaled = Mul (floats, factor)
    x0 = Add (scaled, shift)
    {" ".join(statements)}
    probabilities = Softmax <axis = 1> (z{last})
}}"""


def _statements(n: int, layer: Dense) -> str:
    linear = f"z{n} = Gemm (x{n - 1}, weight{n}, bias{n})"
    if layer.activation is None:
        return linear
    name = type(layer.activation).__name__
    if name not in ACTIVATIONS:
        raise ConfigError(f"--to onnx: {name} has no equivalent in ONNX. Use --to torch.")
    return f"{linear} {ACTIVATIONS[name].format(n=n, f=layer.activation)}"
