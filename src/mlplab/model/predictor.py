"""A network for prediction, with the average of its weights, if there is one. Needs only torch."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, Self

from torch import Tensor, nn

from mlplab.model import shapes
from mlplab.model.mlp import MLP
from mlplab.model.regularization.weight_averaging import WeightAverage, make_average

# Arguments of `Classifier` that predictions do not need.
FOR_TRAINING = {
    *("optimizer", "scheduler", "monitor", "seed", "max_norm", "label_smoothing", "mixup"),
    *("gradient_clip_val", "gradient_clip_algorithm", "max_steps"),
}


class Predictor(nn.Module):
    """A network and, if training averages its weights, their average; neither exists before `make_network`."""

    mlp: MLP
    average: WeightAverage | None
    image_shape: Sequence[int]  # (C, H, W)

    def make_network(self, values: Mapping[str, Any]) -> Self:
        """Make the network from arguments of `Classifier`, with an output for each of `classes`.

        Raises:
            ValueError: for an argument that is unknown or out of range.
        """
        if unknown := values.keys() - signature(MLP).parameters - {"classes", "averaging"} - FOR_TRAINING:
            raise ValueError(f"unknown argument {', '.join(map(repr, sorted(unknown)))}")
        arguments = {name: values[name] for name in signature(MLP).parameters if name in values}
        self.mlp = MLP(**arguments, num_classes=len(values["classes"]))
        self.average = make_average(self.mlp, values["averaging"])
        self.image_shape = values["image_shape"]
        return self

    @property
    def eval_network(self) -> nn.Sequential:
        """The network for validation, test and prediction: the one with averaged weights, if there is one."""
        return self.mlp if self.average is None else self.average.module

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> logits (B, K)."""
        shapes.require_shape(images, self.image_shape)
        network = self.mlp if self.training else self.eval_network
        logits: Tensor = network(images.to(network.get_parameter("logits.weight").dtype))
        return logits

    def predict_step(self, batch: tuple[Tensor, Tensor] | Tensor, batch_idx: int = 0) -> Tensor:
        """Return probabilities (B, K)."""
        probabilities: Tensor = self(batch if isinstance(batch, Tensor) else batch[0]).softmax(dim=1)
        return probabilities
