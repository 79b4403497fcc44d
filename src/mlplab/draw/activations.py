"""The elementwise activations of torch.nn as JavaScript expressions in `x`."""

from torch import nn

from mlplab.errors import CheckpointError

_SIGMOID = "1 / (1 + Math.exp(-x))"
_SOFTPLUS = "Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))"
# Abramowitz and Stegun (1964), 7.1.26: the error function within 1.5e-7.
_ERF = (
    "(z => (t => Math.sign(z) * (1 - t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027"
    " + t * 1.061405429)))) * Math.exp(-z * z)))(1 / (1 + 0.3275911 * Math.abs(z))))(x * Math.SQRT1_2)"
)
_EXPRESSIONS = {
    "CELU": "x > 0 ? x : Math.expm1(x)",
    "ELU": "x > 0 ? x : Math.expm1(x)",
    "GELU": f"x / 2 * (1 + {_ERF})",
    "Hardshrink": "Math.abs(x) > 0.5 ? x : 0",
    "Hardsigmoid": "Math.min(Math.max(x / 6 + 0.5, 0), 1)",
    "Hardswish": "x * Math.min(Math.max(x / 6 + 0.5, 0), 1)",
    "Hardtanh": "Math.min(Math.max(x, -1), 1)",
    "LeakyReLU": "x > 0 ? x : {f.negative_slope!r} * x",
    "LogSigmoid": f"x - ({_SOFTPLUS})",
    "Mish": f"x * Math.tanh({_SOFTPLUS})",
    "ReLU": "Math.max(x, 0)",
    "ReLU6": "Math.min(Math.max(x, 0), 6)",
    "SELU": "1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x))",
    "SiLU": f"x * ({_SIGMOID})",
    "Sigmoid": _SIGMOID,
    "Softplus": _SOFTPLUS,
    "Softshrink": "Math.sign(x) * Math.max(Math.abs(x) - 0.5, 0)",
    "Softsign": "x / (1 + Math.abs(x))",
    "Tanh": "Math.tanh(x)",
    "Tanhshrink": "x - Math.tanh(x)",
}


def expression(module: nn.Module | None) -> str:
    """Return the JavaScript of an activation; the output layer has none.

    Raises:
        CheckpointError: if it is none of these.
    """
    if module is None:
        return "x"
    name = type(module).__name__
    if isinstance(module, nn.PReLU) and module.weight.numel() == 1:
        return f"x > 0 ? x : {module.weight.item()!r} * x"
    if name not in _EXPRESSIONS:
        known = ", ".join(sorted([*_EXPRESSIONS, "PReLU"]))
        raise CheckpointError(f"model.activation={name}: the page cannot compute it, only one of {known}.")
    return _EXPRESSIONS[name].format(f=module)
