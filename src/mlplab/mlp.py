"""The network: images (B, C, H, W) -> logits (B, K)."""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

from torch import nn


class MLP(nn.Sequential):
    """Flatten; a linear layer, an activation and dropout for each width in `hidden`; a linear layer to the classes.

    Args:
        hidden: width of the hidden layer, or of each of them; `[]` is softmax regression.
        dropout: share of units dropped after each hidden layer, from 0 to below 1: one rate for all, or one per layer.
        activation: an elementwise class of torch.nn.

    Raises:
        ValueError: if a width is below 1, a rate is out of range, the rates are not one or one per layer, or torch has
            no such activation.
    """

    def __init__(
        self,
        hidden: int | Sequence[int] = 128,
        dropout: float | Sequence[float] = 0.0,
        activation: str = "ReLU",
        image_shape: Sequence[int] = (1, 28, 28),
        num_classes: int = 10,
    ) -> None:
        hidden = [hidden] if isinstance(hidden, int) else hidden
        rates = [dropout] if isinstance(dropout, int | float) else list(dropout)
        if any(width < 1 for width in hidden):
            raise ValueError(f"`hidden` must be widths of at least 1, got {list(hidden)}")
        if len(rates) not in (1, len(hidden)):
            raise ValueError(f"`dropout` must be one rate, or {len(hidden)} for {len(hidden)} layers, got {rates}")
        if not all(0 <= rate < 1 for rate in rates):
            raise ValueError(f"`dropout` must be from 0 to below 1, got {rates}")
        if not hasattr(nn, activation):
            raise ValueError(f"`activation` must be a class of torch.nn, got {activation!r}")
        if len(rates) == 1:
            rates *= len(hidden)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())  # (B, C, H, W) -> (B, C*H*W)
        features = prod(image_shape)
        for number, (width, rate) in enumerate(zip(hidden, rates, strict=True), start=1):
            layers[f"linear{number}"] = nn.Linear(features, width)
            layers[f"{activation.lower()}{number}"] = getattr(nn, activation)()
            if rate:
                layers[f"dropout{number}"] = nn.Dropout(rate)
            features = width
        layers["logits"] = nn.Linear(features, num_classes)  # (B, features) -> (B, K)
        super().__init__(layers)
