"""Records the accuracy of every epoch of many networks, with this project's step, as material for replays.

Random configurations of the space are trained with one seed; the best of them, and the base configuration, with others.
"""

import csv
import gzip
import logging
import multiprocessing
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser

from mlplab.search import sampling
from mlplab.search.space import Assignment, Space

EPOCHS = 9
WORDS = (
    "model.hidden=interval(16,96)",
    "model.layers=1,2",
    "model.dropout=interval(0,0.5)",
    "optimizer=adam,rmsprop,sgd",
    "optimizer.lr=interval(1e-4,1e-1)",
)
BASE = {"model.hidden": "64", "model.layers": "1", "model.dropout": "0", "optimizer": "adam", "optimizer.lr": "0.001"}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"name": "Adam"},
    "rmsprop": {"name": "RMSprop"},
    "sgd": {"name": "SGD", "momentum": 0.9},
}
FIGURES = ("val_acc", "val_loss", "test_acc", "seconds")  # of each epoch


class Run(NamedTuple):
    draw: int  # 0 is the base configuration
    seed: int
    values: Assignment


def space() -> Space:
    found, mistakes = Space.of(OverridesParser.create().parse_overrides(list(WORDS)))
    assert not mistakes
    return found


def runs(draws: int) -> list[Run]:
    """Return the base configuration and random ones, with seed 0."""
    found = sampling.at_random(space(), draws - 1, BASE.__ne__, "curves")
    return [Run(draw, 0, values) for draw, values in enumerate([BASE, *found])]


def again(runs: Sequence[Run], accuracies: Sequence[float], best: int, seeds: int) -> list[Run]:
    """Return the best runs and that of the base configuration with other seeds."""
    ranked = sorted(runs, key=lambda run: (run.draw != 0, -accuracies[run.draw]))
    return [run._replace(seed=seed) for seed in range(1, 1 + seeds) for run in ranked[: best + 1]]


def append(path: Path, wanted: Iterable[Run], jobs: int) -> None:
    """Train the runs that the file lacks, and append a row for each."""
    known = {(int(row["draw"]), int(row["seed"])) for row in rows(path)} if path.exists() else set()
    missing = [run for run in wanted if (run.draw, run.seed) not in known]
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=_begin) as pool:
        for row in pool.imap_unordered(_row, missing):
            with gzip.open(path, "at", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row))
                if not known:
                    writer.writeheader()
                writer.writerow(row)
            known.add((row["draw"], row["seed"]))


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _begin() -> None:
    """Prepare a process: one thread, and no output from Lightning."""
    import torch

    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


def _row(run: Run) -> dict[str, Any]:
    history = train(run.values, run.seed)
    history += [dict.fromkeys(FIGURES, "")] * (EPOCHS - len(history))  # a run that diverged
    figures = {f"{name}_{epoch}": one[name] for name in FIGURES for epoch, one in enumerate(history, 1)}
    return {"draw": run.draw, "seed": run.seed, **run.values, **figures}


def train(values: Assignment, seed: int) -> list[dict[str, str]]:
    """Train a configuration on Fashion-MNIST; return the figures of each epoch, including those of the test images."""
    import torch
    from lightning.pytorch import Callback, Trainer

    from mlplab import startup
    from mlplab.data.datamodule import ImageDataModule
    from mlplab.errors import DivergedError
    from mlplab.model.classifier import Classifier

    startup.tune()

    class Record(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            self.started = time.perf_counter()

        def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
            seconds = time.perf_counter() - self.started
            metrics = trainer.callback_metrics
            with torch.no_grad():
                right = sum(int((pl_module(x).argmax(1) == y).sum()) for x, y in data.batches("test"))
            figures = (float(metrics["val/acc"]), float(metrics["val/loss"]), right / 10_000, seconds)
            history.append({name: f"{figure:.5g}" for name, figure in zip(FIGURES, figures, strict=True)})

    history: list[dict[str, str]] = []
    torch.manual_seed(seed)
    data = ImageDataModule("fashion", batch_size=128, seed=seed)
    classifier = Classifier(
        hidden=[int(values["model.hidden"])] * int(values["model.layers"]),
        dropout=float(values["model.dropout"]),
        optimizer={**OPTIMIZERS[values["optimizer"]], "lr": float(values["optimizer.lr"])},
        seed=seed,
    )
    flags: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    flags |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=EPOCHS, callbacks=[Record()], **flags)
    with suppress(DivergedError):
        trainer.fit(classifier, datamodule=data)
    return history
