"""Layers with hand-written gradients, for batches of one size: torch calls on buffers that are allocated once.

A layer without a formula here gets its gradient from autograd, see `Autograd`.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlplab.model.mlp import GaussianNoise

Call = Callable[[], object]
aten = torch.ops.aten

# For each activation, the call that turns the gradient g of the output y into that of the input x, in place.
DERIVATIVES: dict[type[nn.Module], Callable[[Any, Tensor, Tensor, Tensor], Call]] = {
    nn.GELU: lambda module, g, x, y: partial(
        aten.gelu_backward.grad_input, g, x, approximate=module.approximate, grad_input=g
    ),
    nn.LeakyReLU: lambda module, g, x, y: partial(
        aten.leaky_relu_backward.grad_input, g, x, module.negative_slope, False, grad_input=g
    ),
    nn.Sigmoid: lambda module, g, x, y: partial(aten.sigmoid_backward.grad_input, g, y, grad_input=g),
    nn.SiLU: lambda module, g, x, y: partial(aten.silu_backward.grad_input, g, x, grad_input=g),
    nn.Tanh: lambda module, g, x, y: partial(aten.tanh_backward.grad_input, g, y, grad_input=g),
}


class Layer:
    """One module of a network.

    Args:
        module: of the network; a weight whose `.grad` is None is not trained, any other `.grad` is written in place.
        features: the buffer (B, inputs) that it reads; its dtype is used for the computation.
        before: the layer that writes `features`, or None for the images.

    Attributes:
        output: (B, units), the result of `forward`.
        forward: calls that compute the output.
        backward: calls that compute the gradients, complete after `connect`.
    """

    def __init__(self, module: Any, features: Tensor, before: "Layer | None") -> None:
        self.module, self.features = module, features
        self.output = torch.empty_like(features)
        self.forward: list[Call] = []
        self.backward: list[Call] = []

    def connect(self, gradient: Tensor, is_first: bool) -> Tensor:
        """Set `backward`, and return the gradient of the input, which here is that of the output.

        Args:
            gradient: the buffer of the gradient of `output`, which may be overwritten.
            is_first: the gradient of the input is not needed.
        """
        return gradient


class Linear(Layer):
    """A linear layer; if its weights have another dtype than the features, it computes with converted copies."""

    def __init__(self, module: nn.Linear, features: Tensor, before: Layer | None) -> None:
        super().__init__(module, features, before)
        self.output = features.new_empty(len(features), module.out_features)
        self.weight = self._own(module.weight)
        self.product = partial(torch.mm, features, self.weight.t())
        if module.bias is not None:
            self.product = partial(torch.addmm, self._own(module.bias), features, self.weight.t())
        self.forward.append(partial(self.product, out=self.output))

    def _own(self, parameter: Tensor) -> Tensor:
        original = parameter.detach()
        own = original.to(self.features.dtype)
        if own is not original:
            self.forward.append(partial(own.copy_, original))
        return own

    def connect(self, gradient: Tensor, is_first: bool) -> Tensor:
        weight, bias = (None if part is None else part.grad for part in (self.module.weight, self.module.bias))
        if weight is not None:
            own = weight if weight.dtype == gradient.dtype else torch.empty_like(weight, dtype=gradient.dtype)
            self.backward.append(partial(torch.mm, gradient.t(), self.features, out=own))
            if own is not weight:
                self.backward.append(partial(weight.copy_, own))
        if bias is not None and bias.dtype == gradient.dtype:  # a sum as a product with ones, which is faster
            ones = gradient.new_ones(1, len(gradient))
            self.backward.append(partial(torch.mm, ones, gradient, out=bias.view(1, -1)))
        elif bias is not None:
            self.backward.append(partial(torch.sum, gradient, 0, dtype=bias.dtype, out=bias))
        if is_first:
            return gradient
        input_gradient = torch.empty_like(self.features)
        self.backward.append(partial(torch.mm, gradient, self.weight, out=input_gradient))
        return input_gradient


class ReLU(Layer):
    """Rectifier that overwrites its input, unless the layer before needs it for its gradient."""

    def __init__(self, module: nn.ReLU, features: Tensor, before: Layer | None) -> None:
        super().__init__(module, features, before)
        if isinstance(before, Linear):
            self.output = features
        self.forward = [partial(torch.clamp_min, features, 0, out=self.output)]

    def connect(self, gradient: Tensor, is_first: bool) -> Tensor:
        self.backward = [partial(aten.threshold_backward.grad_input, gradient, self.output, 0, grad_input=gradient)]
        return gradient


class Activation(Layer):
    """An activation listed in `DERIVATIVES`."""

    def __init__(self, module: nn.Module, features: Tensor, before: Layer | None) -> None:
        super().__init__(module, features, before)
        self.forward = [lambda: self.output.copy_(module(features))]

    def connect(self, gradient: Tensor, is_first: bool) -> Tensor:
        self.backward = [DERIVATIVES[type(self.module)](self.module, gradient, self.features, self.output)]
        return gradient


class Dropout(Layer):
    """Zeros a fraction of the units and scales the rest, by random numbers of 8 bits, or 16 if the rate is below 1/16.

    The rate is the nearest that these bits can represent: 0.1992 for 0.2. Before each `forward`, `drawn` (B, inputs)
    must be set to 1 for a unit that is kept, else to 0.
    """

    def __init__(self, module: nn.Dropout, features: Tensor, before: Layer | None) -> None:
        super().__init__(module, features, before)
        self.type = np.dtype(np.uint8 if module.p >= 1 / 16 else np.uint16)
        values = 256**self.type.itemsize
        self.dropped = min(round(module.p * values), values - 1)  # number of random values that drop a unit
        self.drawn = torch.ones_like(features)
        zero = features.new_zeros(())
        self.scaled = partial(torch.addcmul, zero, self.drawn, value=values / (values - self.dropped))
        self.forward = [partial(self.scaled, features, out=self.output)]

    def connect(self, gradient: Tensor, is_first: bool) -> Tensor:
        self.backward = [partial(self.scaled, gradient, out=gradient)]
        return gradient


class Noise(Layer):
    """Adds noise: `drawn` (B, inputs), filled with normal numbers before each `forward`, times the deviation."""

    def __init__(self, module: GaussianNoise, features: Tensor, before: Layer | None) -> None:
        super().__init__(module, features, before)
        self.drawn = torch.zeros_like(features, dtype=torch.float32)  # the same numbers for any dtype of the features
        self.forward = [partial(torch.add, features, self.drawn, alpha=module.std, out=self.output)]


class BatchNorm(Layer):
    """Batch norm, which also updates the running statistics."""

    def __init__(self, module: nn.BatchNorm1d, features: Tensor, before: Layer | None) -> None:
        super().__init__(module, features, before)
        if len(features) == 1:
            raise ValueError(
                "batch norm: cannot train on a batch of one image, which has no variance; choose another batch size"
            )
        assert module.num_batches_tracked is not None
        running: Any = module.running_mean, module.running_var
        moments = [torch.empty_like(running[0]) for _ in range(2)]  # of the batch
        self.statistics = [module.weight, *running, *moments]
        options: Any = {"training": True, "momentum": module.momentum, "eps": module.eps}
        normalize = partial(torch.native_batch_norm, features, module.weight, module.bias, *running, **options)
        self.forward = [
            partial(module.num_batches_tracked.add_, 1),
            partial(normalize, out=(self.output, *moments)),
        ]

    def connect(self, gradient: Tensor, is_first: bool) -> Tensor:
        input_gradient, parts = torch.empty_like(gradient), [self.module.weight, self.module.bias]
        targets = [input_gradient, *(None if part is None else part.grad for part in parts)]
        arguments = gradient, self.features, *self.statistics, True, self.module.eps
        wanted = [target is not None for target in targets]
        self.backward = [partial(_fill, targets, partial(aten.native_batch_norm_backward, *arguments, wanted))]
        return input_gradient


class Autograd(Layer):
    """Any other module; autograd computes its gradient."""

    def __init__(self, module: nn.Module, features: Tensor, before: Layer | None) -> None:
        super().__init__(module, features, before)
        self.weights: list[Any] = [weight for weight in module.parameters() if weight.grad is not None]
        self.output = self._computed(copy.deepcopy(module)).detach().clone()  # as wide as its output
        self.forward = [self._forward]

    def _computed(self, module: nn.Module) -> Tensor:
        dtype, device = self.features.dtype, self.features.device.type
        with torch.enable_grad(), torch.autocast(device, dtype, enabled=dtype == torch.bfloat16):
            self.leaf = self.features.detach().requires_grad_()
            result: Tensor = module(self.leaf).to(dtype)
        return result

    def _forward(self) -> None:
        self.result = self._computed(self.module)
        self.output.copy_(self.result.detach())

    def connect(self, gradient: Tensor, is_first: bool) -> Tensor:
        input_gradient = torch.empty_like(self.features)

        def compute() -> Sequence[Tensor]:
            inputs = [self.leaf, *self.weights]
            return torch.autograd.grad(self.result, inputs, gradient, allow_unused=True, materialize_grads=True)

        self.backward = [partial(_fill, [input_gradient, *(weight.grad for weight in self.weights)], compute)]
        return input_gradient


def _fill(targets: Sequence[Tensor | None], compute: Callable[[], Sequence[Tensor]]) -> None:
    for target, value in zip(targets, compute(), strict=True):
        if target is not None:
            target.copy_(value)


LAYERS: dict[type[nn.Module], type[Layer]] = {
    nn.Linear: Linear,
    nn.ReLU: ReLU,
    nn.Dropout: Dropout,
    GaussianNoise: Noise,
    nn.BatchNorm1d: BatchNorm,
    **dict.fromkeys(DERIVATIVES, Activation),
}


def layer_of(module: nn.Module, features: Tensor, before: Layer | None = None) -> Layer:
    """Make the layer that trains `module`: the one for exactly its class, or `Autograd`."""
    return LAYERS.get(type(module), Autograd)(module, features, before)
