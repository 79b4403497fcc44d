"""Runs of four epochs of five batches, the last of which has 22 images instead of 32."""

from typing import Any

import torch
from conftest import MakeTrainer
from lightning.pytorch import Callback, Trainer
from plain_loop import State, state_of

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.classifier import Classifier

STILL = {"name": "SGD", "lr": 1e-30}  # the weights stay


class Noted(Callback):
    """Records the weights after each step, and those used for validation."""

    def __init__(self) -> None:
        self.after_step: list[State] = []
        self.in_validation: list[State] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: object) -> None:
        self.after_step.append(state_of(pl_module.mlp))

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if pl_module.average is not None:
            self.in_validation.append(state_of(pl_module.average.module))


def fit(
    make: MakeTrainer,
    datamodule: ImageDataModule,
    noted: Noted | None = None,
    flags: dict[str, Any] | None = None,
    **arguments: Any,
) -> Classifier:
    """Return a trained classifier with these arguments; `noted` is called after each step."""
    torch.manual_seed(0)
    sgd = {"name": "SGD", "lr": 0.05, "momentum": 0.9}
    classifier = Classifier([16, 12], **{"optimizer": sgd, **arguments})
    # A number of batches is for Lightning to count, and so it is given one after the other.
    looks: dict[str, Any] = {} if noted is None else {"callbacks": [noted], "limit_train_batches": 5}
    make(**{"max_epochs": 4, **looks, **(flags or {})}).fit(classifier, datamodule=datamodule)
    return classifier
