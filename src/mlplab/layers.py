"""Layers with their gradients written out, for batches of one size: results go into buffers that are made once.

A layer without a formula here has its gradient from autograd, see `Autograd`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlplab.mlp import GaussianNoise

aten = torch.ops.aten

# Of activations: the gradient of the input x from that of the output y.
DERIVATIVES: dict[type[nn.Module], Callable[[Any, Tensor, Tensor, Tensor], Tensor]] = {
    nn.GELU: lambda module, gradient, x, y: aten.gelu_backward(gradient, x, approximate=module.approximate),
    nn.LeakyReLU: lambda module, gradient, x, y: aten.leaky_relu_backward(gradient, x, module.negative_slope, False),
    nn.Sigmoid: lambda module, gradient, x, y: aten.sigmoid_backward(gradient, y),
    nn.SiLU: lambda module, gradient, x, y: aten.silu_backward(gradient, x),
    nn.Tanh: lambda module, gradient, x, y: aten.tanh_backward(gradient, y),
}


class Layer:
    """One module of a network, for batches of `size` features of type `dtype`.

    Gradients of weights go into their `.grad`, which is made before; a weight without one is not trained.
    """

    def __init__(self, module: Any, size: int, dtype: torch.dtype) -> None:
        self.module = module

    def forward(self, features: Tensor, drawn: Tensor | None) -> Tensor:
        """The output, which stays until the next call; `drawn`: random numbers of a layer that wants some."""
        raise NotImplementedError

    def backward(self, gradient: Tensor) -> Tensor:
        """From the gradient of the output, which it may overwrite, that of the input."""
        raise NotImplementedError


class Linear(Layer):
    """Where the weights are of another type than `dtype`, it computes with copies of them."""

    def __init__(self, module: nn.Linear, size: int, dtype: torch.dtype) -> None:
        super().__init__(module, size, dtype)
        weight, bias = module.weight.detach(), None if module.bias is None else module.bias.detach()
        self.copies = [(weight.to(dtype), weight)] if weight.dtype != dtype else []
        self.weight = self.copies[0][0] if self.copies else weight
        self.bias = bias
        if bias is not None and self.copies:
            self.bias = bias.to(dtype)
            self.copies.append((self.bias, bias))
        self.weight_t = self.weight.t()
        is_copied = self.copies and module.weight.grad is not None
        self.weight_gradient = torch.empty_like(self.weight) if is_copied else module.weight.grad
        self.bias_gradient = None if bias is None or module.bias.grad is None else module.bias.grad.view(1, -1)
        self.ones = torch.ones(1, size, dtype=dtype, device=weight.device)
        self.output = self.weight.new_empty(size, module.out_features)
        self.input_gradient = self.weight.new_empty(size, module.in_features)
        self.is_first = False  # nobody wants the gradient of its input
        self.gradient: Tensor | None = None

    def forward(self, features: Tensor, drawn: Tensor | None) -> Tensor:
        self.features = features
        for copy, original in self.copies:
            copy.copy_(original)
        if self.bias is None:
            return torch.mm(features, self.weight_t, out=self.output)
        return torch.addmm(self.bias, features, self.weight_t, out=self.output)

    def backward(self, gradient: Tensor) -> Tensor:
        if gradient is not self.gradient:  # mostly a buffer that is the same in each step
            self.gradient, self.gradient_t = gradient, gradient.t()
        if self.weight_gradient is not None:
            torch.mm(self.gradient_t, self.features, out=self.weight_gradient)
        if self.bias_gradient is not None and not self.copies:  # a sum, as a product with ones, which is faster
            torch.mm(self.ones, gradient, out=self.bias_gradient)
        if self.copies and self.weight_gradient is not None:
            self.module.weight.grad.copy_(self.weight_gradient)
        if self.copies and self.bias_gradient is not None:
            torch.sum(gradient, 0, keepdim=True, dtype=self.bias_gradient.dtype, out=self.bias_gradient)
        return gradient if self.is_first else torch.mm(gradient, self.weight, out=self.input_gradient)


class ReLU(Layer):
    """Overwrites its input, unless the layer before needs that for its own gradient."""

    def __init__(self, module: nn.ReLU, size: int, dtype: torch.dtype) -> None:
        super().__init__(module, size, dtype)
        self.is_in_place = False

    def forward(self, features: Tensor, drawn: Tensor | None) -> Tensor:
        self.output = features.relu_() if self.is_in_place else features.relu()
        return self.output

    def backward(self, gradient: Tensor) -> Tensor:
        aten.threshold_backward.grad_input(gradient, self.output, 0, grad_input=gradient)
        return gradient


class Activation(Layer):
    """One of those in `DERIVATIVES`."""

    def __init__(self, module: nn.Module, size: int, dtype: torch.dtype) -> None:
        super().__init__(module, size, dtype)
        self.derivative = DERIVATIVES[type(module)]

    def forward(self, features: Tensor, drawn: Tensor | None) -> Tensor:
        y: Tensor = self.module(features)
        self.x, self.y = features, y
        return y

    def backward(self, gradient: Tensor) -> Tensor:
        return self.derivative(self.module, gradient, self.x, self.y)


class Dropout(Layer):
    """Zeros a share of the units and scales the rest, by random numbers of 8 bits, of 16 where the rate is below 1/16.

    The rate is the nearest that so many bits can tell: 0.1992 for 0.2.
    """

    def __init__(self, module: nn.Dropout, size: int, dtype: torch.dtype) -> None:
        super().__init__(module, size, dtype)
        self.type = np.dtype(np.uint8 if module.p >= 1 / 16 else np.uint16)
        values = 256**self.type.itemsize
        self.dropped = round(module.p * values)  # so many values of a random number drop a unit
        self.scale = values / (values - self.dropped)
        self.kept: Any = None

    def forward(self, features: Tensor, drawn: Any) -> Tensor:
        """`drawn`: 1 for a unit that is kept, else 0."""
        if self.kept is None:
            self.kept, self.output = torch.empty_like(features), torch.empty_like(features)
        self.kept.copy_(drawn).mul_(self.scale)
        return torch.mul(features, self.kept, out=self.output)

    def backward(self, gradient: Tensor) -> Tensor:
        return gradient.mul_(self.kept)


class Noise(Layer):
    """Adds normal noise."""

    def forward(self, features: Tensor, drawn: Any) -> Tensor:
        return torch.add(features, drawn.to(features.dtype), alpha=self.module.std)

    def backward(self, gradient: Tensor) -> Tensor:
        return gradient


class BatchNorm(Layer):
    """Moves the running statistics, too."""

    def __init__(self, module: nn.BatchNorm1d, size: int, dtype: torch.dtype) -> None:
        super().__init__(module, size, dtype)
        if size == 1:
            raise ValueError("batch norm: a batch of one image has no variance; choose another batch size")
        self.statistics = module.weight, module.running_mean, module.running_var

    def forward(self, features: Tensor, drawn: Tensor | None) -> Tensor:
        module, (weight, mean, variance) = self.module, self.statistics
        self.features = features
        module.num_batches_tracked.add_(1)
        normalized, *self.moments = torch.native_batch_norm(
            features, weight, module.bias, mean, variance, True, module.momentum, module.eps
        )
        return normalized

    def backward(self, gradient: Tensor) -> Tensor:
        module = self.module
        wanted = [True, *(part is not None and part.grad is not None for part in (module.weight, module.bias))]
        gradient, *own = aten.native_batch_norm_backward(
            gradient, self.features, *self.statistics, *self.moments, True, module.eps, wanted
        )
        for part, is_wanted, value in zip((module.weight, module.bias), wanted[1:], own, strict=True):
            if is_wanted:
                part.grad.copy_(value)
        return gradient


class Autograd(Layer):
    """Any other module, of which nothing needs to be known."""

    def __init__(self, module: nn.Module, size: int, dtype: torch.dtype) -> None:
        super().__init__(module, size, dtype)
        self.dtype = dtype
        self.weights: list[Any] = [weight for weight in module.parameters() if weight.grad is not None]

    def forward(self, features: Tensor, drawn: Tensor | None) -> Tensor:
        with (
            torch.enable_grad(),
            torch.autocast(features.device.type, self.dtype, enabled=self.dtype == torch.bfloat16),
        ):
            self.features = features.detach().requires_grad_()
            output: Tensor = self.module(self.features).to(self.dtype)
        self.output = output
        return output.detach()

    def backward(self, gradient: Tensor) -> Tensor:
        gradient, *own = torch.autograd.grad(self.output, [self.features, *self.weights], gradient)
        for weight, value in zip(self.weights, own, strict=True):
            weight.grad.copy_(value)
        return gradient


LAYERS: dict[type[nn.Module], type[Layer]] = {
    nn.Linear: Linear,
    nn.ReLU: ReLU,
    nn.Dropout: Dropout,
    GaussianNoise: Noise,
    nn.BatchNorm1d: BatchNorm,
    **dict.fromkeys(DERIVATIVES, Activation),
}


def layer_of(module: nn.Module, size: int, dtype: torch.dtype) -> Layer:
    """The layer that trains `module`: exactly of a class that is known here, or by autograd."""
    return LAYERS.get(type(module), Autograd)(module, size, dtype)
