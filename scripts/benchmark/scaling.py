"""How the time of an epoch grows with width, batch size and number of images, beside the limit of the arithmetic."""

import logging
import statistics
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from recipes import data_root
from torch import nn

from mlplab import process
from mlplab.blocks import CompiledSteps
from mlplab.classifier import Classifier
from mlplab.datamodule import ImageDataModule

EXAMPLE = {"width": 512, "batch": 128, "images": 60_000}  # what does not vary has these values
WIDTHS = (32, 128, 512, 1024, 2048, 4096)
BATCHES = (16, 32, 128, 512, 1024, 4096)
IMAGES = (6_000, 60_000, 600_000)
ROUNDS = 3
EPOCHS = 2  # of a turn, the first of which does not count
SHORT = 24_000  # images of an epoch where only the cost of one image matters


def measure() -> dict[str, Any]:
    """Microseconds per training image, as medians over rounds, of a network 784-width-10 trained by Adam."""
    process.tune()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    rates: list[float] = []
    curves: dict[str, list[dict[str, float]]] = {"width": [], "batch": [], "images": []}
    for axis, point in points():
        if axis != "images":
            point = {**point, "images": SHORT}
        turns: dict[str, list[float]] = {"mlplab": [], "bare PyTorch loop": [], "limit": []}
        for _ in range(ROUNDS):  # in turn: a shared machine is not always as fast
            rates.append(matrix_rate())
            turns["limit"].append(flops(point["width"]) / rates[-1] * 1e6)
            turns["mlplab"].append(ours(**point))
            turns["bare PyTorch loop"].append(bare(**point))
        figures = {**point, **{name: statistics.median(values) for name, values in turns.items()}}
        curves[axis].append(figures)
        print(axis, {key: round(value, 2) for key, value in figures.items()}, flush=True)
    return {"matrix_gflops": statistics.median(rates) / 1e9, "us_per_image": curves}


def points() -> Iterator[tuple[str, dict[str, int]]]:
    for axis, values in (("width", WIDTHS), ("batch", BATCHES), ("images", IMAGES)):
        for value in values:
            yield axis, {**EXAMPLE, axis: value}


def flops(width: int) -> int:
    """Of one image: products forward, for the gradients of the weights, and for that of the hidden layer."""
    return 2 * (2 * 784 * width + 3 * width * 10)


def matrix_rate() -> float:
    """Floating-point operations a second in the product of two matrices of 2048 x 2048."""
    one, other = torch.rand(2, 2048, 2048)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - started)
    return float(2 * 2048**3 / best)


class Clock(Callback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def ours(width: int, batch: int, images: int) -> float:
    datamodule = ImageDataModule("mnist", str(data_root()), val_size=0, batch_size=batch)
    datamodule.setup()
    datamodule.train_rows = datamodule.train_rows.repeat(-(-images // 60_000))[:images]
    clock = Clock()
    trainer = Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[CompiledSteps(True), clock],
    )  # fmt: skip
    trainer.fit(Classifier(width), datamodule=datamodule)
    return clock.seconds[-1] / images * 1e6


def bare(width: int, batch: int, images: int) -> float:
    datamodule = ImageDataModule("mnist", str(data_root()), val_size=0)
    datamodule.setup()
    data, labels = datamodule.training_data(torch.device("cpu"))
    pixels = datamodule.normalized(data)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for rows in (torch.randperm(images) % 60_000).split(batch):
            loss = nn.functional.cross_entropy(network(pixels[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return seconds[-1] / images * 1e6
