"""The two recipes that every contestant trains, as conf/experiment has them."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    title: str
    hidden: tuple[int, ...]
    dropout: float
    optimizer: str
    batch_size: int
    epochs: int
    val_size: int


RECIPES = {
    "mnist_128_adam": Recipe("784-128-10, Adam, batch 32, 5 epochs", (128,), 0.0, "Adam", 32, 5, 0),
    "mnist_512x2_rmsprop": Recipe(
        "784-512-512-10, dropout 0.2, RMSprop, batch 128, 20 epochs", (512, 512), 0.2, "RMSprop", 128, 20, 12_000
    ),
}


def data_root() -> Path:
    return Path(os.environ.get("MLPLAB_DATA", "~/.cache/mlplab")).expanduser()
