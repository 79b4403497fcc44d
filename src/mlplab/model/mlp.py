"""The network: images (B, C, H, W) -> logits (B, K)."""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


class GaussianNoise(nn.Module):
    """Adds normal noise of standard deviation `std` in training, nothing in evaluation."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, features: Tensor) -> Tensor:
        return features + self.std * torch.randn_like(features) if self.training else features

    def extra_repr(self) -> str:
        return f"std={self.std}"


class Affine(nn.Module):
    """A learned scale and shift of each unit: those of a batch norm, applied after the noise."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, features: Tensor) -> Tensor:
        return torch.addcmul(self.bias, features, self.weight)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}"


def last_hidden_layer(network: nn.Sequential, images: Tensor) -> Tensor:
    """Normalised images (N, C, H, W) -> the inputs of the output layer (N, width)."""
    values = images.to(next(network.parameters()).dtype)
    for layer in [*network][:-1]:
        values = layer(values)
    return values


class MLP(nn.Sequential):
    """Flatten; a linear layer, an activation and dropout for each width in `hidden`; an output layer.

    Arguments that are 0 or False add no layer. The order is: dropout and noise of the pixels, then for each hidden
    layer linear, batch norm, noise, activation, dropout. With batch norm, noise is added between the normalisation and
    the learned scale and shift, as in the encoder of Rasmus et al. (2015). So it is relative to a standard deviation
    of 1, and a larger scale does not reduce its effect.

    Args:
        hidden: width of the hidden layer, or of each of them; `[]` is softmax regression.
        dropout: share of units dropped after each hidden layer, from 0 to below 1: one rate for all, or one per layer.
        activation: an elementwise class of torch.nn.
        batch_norm: normalise the input of each activation over the batch (Ioffe and Szegedy 2015); the linear layer
            before it then has no bias. Training on a batch of one image is an error.
        input_dropout: share of pixels dropped, from 0 to below 1. A dropped pixel is 0 after normalisation.
        input_noise: standard deviation of the noise on normalised pixels, at least 0.
        hidden_noise: standard deviation of the noise before each hidden activation, at least 0.

    Raises:
        ValueError: if a width is below 1, a rate or a deviation is out of range, the rates are not one or one per
            layer, or torch has no such activation.
    """

    def __init__(
        self,
        hidden: int | Sequence[int] = 128,
        dropout: float | Sequence[float] = 0.0,
        activation: str = "ReLU",
        image_shape: Sequence[int] = (1, 28, 28),
        num_classes: int = 10,
        batch_norm: bool = False,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        hidden_noise: float = 0.0,
    ) -> None:
        hidden = [hidden] if isinstance(hidden, int) else hidden
        rates = [dropout] if isinstance(dropout, int | float) else list(dropout)
        if not isinstance(image_shape, Sequence) or not all(isinstance(n, int) and n > 0 for n in image_shape):
            raise ValueError(f"`image_shape` must be (C, H, W), each at least 1, got {image_shape!r}")
        if any(width < 1 for width in hidden):
            raise ValueError(f"`hidden` must be widths of at least 1, got {list(hidden)}")
        if len(rates) not in (1, len(hidden)):
            raise ValueError(f"`dropout` must be one rate, or {len(hidden)} for {len(hidden)} layers, got {rates}")
        if not all(0 <= rate < 1 for rate in rates):
            raise ValueError(f"`dropout` must be from 0 to below 1, got {rates}")
        if not 0 <= input_dropout < 1:
            raise ValueError(f"`input_dropout` must be from 0 to below 1, got {input_dropout}")
        if input_noise < 0 or hidden_noise < 0:
            raise ValueError(f"`input_noise` and `hidden_noise` must be at least 0, got {input_noise}, {hidden_noise}")
        if not hasattr(nn, activation):
            raise ValueError(f"`activation` must be a class of torch.nn, got {activation!r}")
        if len(rates) == 1:
            rates *= len(hidden)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())  # (B, C, H, W) -> (B, C*H*W)
        if input_dropout:
            layers["input_dropout"] = nn.Dropout(input_dropout)
        if input_noise:
            layers["input_noise"] = GaussianNoise(input_noise)
        features = prod(image_shape)
        for number, (width, rate) in enumerate(zip(hidden, rates, strict=True), start=1):
            layers[f"linear{number}"] = nn.Linear(features, width, bias=not batch_norm)  # batch norm has a bias
            if batch_norm:
                layers[f"batch_norm{number}"] = nn.BatchNorm1d(width, affine=not hidden_noise)
            if hidden_noise:
                layers[f"noise{number}"] = GaussianNoise(hidden_noise)
            if batch_norm and hidden_noise:
                layers[f"affine{number}"] = Affine(width)
            layers[f"{activation.lower()}{number}"] = getattr(nn, activation)()
            if rate:
                layers[f"dropout{number}"] = nn.Dropout(rate)
            features = width
        layers["logits"] = nn.Linear(features, num_classes)  # (B, features) -> (B, K)
        super().__init__(layers)
        first = next(layer for layer in self if isinstance(layer, nn.Linear)).weight
        # Stored by columns, it makes the product with the images 1.5 times as fast for a batch of 32 on a CPU; a layer
        # whose input has a gradient would lose as much there.
        first.data = first.data.t().contiguous().t()
