"""Run folders like those of a sweep, with made-up figures."""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "seed": 0,
    "monitor": "val/loss",
    "evaluate_untrained": False,
    "early_stopping": {"patience": None, "min_delta": 0.0},
    "data": {"name": "mnist", "root": "data", "val_size": 5000, "split_seed": 0, "batch_size": 32},
    "model": {"hidden": [128], "dropout": [0.0], "activation": "ReLU"},
    "optimizer": {"name": "Adam", "lr": 0.001},
    "scheduler": {"name": None, "interval": None},
    "trainer": {"max_epochs": 5, "accelerator": "auto", "enable_progress_bar": None},
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {"name": "Adam", "lr": 0.001},
    "RMSprop": {"name": "RMSprop", "lr": 0.001, "alpha": 0.9},
    "SGD": {"name": "SGD", "lr": 0.1, "momentum": 0.9},
}


def config(**changes: Any) -> dict[str, Any]:
    """`config(seed=1, optimizer=..., model__hidden=[512])`."""
    tree: dict[str, Any] = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        (tree[section] if section else tree)[name] = value
    return tree


def result(
    config: Mapping[str, Any], val_acc: float | None = 0.97, test_acc: float = 0.96, **more: Any
) -> dict[str, Any]:
    epochs = config["trainer"]["max_epochs"]
    history = []
    for epoch in range(1, epochs + 1):
        figures = {"epoch": epoch, "train/loss": 0.5 / epoch, "train/acc": 1 - 0.1 / epoch, "seconds": 1.0}
        if val_acc is not None:
            figures |= {"val/loss": 0.4 / epoch + 0.004 * epoch, "val/acc": val_acc - 0.05 / epoch}
        history.append(figures)
    val = {} if val_acc is None else {"val/acc": val_acc, "val/loss": 0.1}
    return {
        "status": "completed",
        "monitor": "val/loss",
        "epochs": epochs,
        "max_epochs": epochs,
        "steps": 1000,
        "parameters": 101_770,
        "train_images": 55_000,
        "val_images": 5_000,
        "precision": "32-true",
        "device": {"name": "a processor", "type": "cpu"},
        "earlier_versions": [],
        "score": 0.1,
        "seed": config["seed"],
        "config_hash": "0123456789abcdef",
        "versions": {"mlplab": "0.1.0", "torch": "2.11.0", "lightning": "2.6.4", "code": "1a2b3c"},
        "history": history,
        "metrics": {**val, "test/acc": test_acc, "test/loss": 0.12},
        "best_epoch": max(1, epochs - 1),
        "fit_s": 10.0,
        "total_s": 11.0,
        "images_per_s": 27_500.0,
        "config": config,
        **more,
    }


@dataclass
class Sweep:
    """Creates run folders below `folder`, numbered in order."""

    folder: Path
    made: list[Path] = field(default_factory=list)

    def add(self, result: Mapping[str, Any] | str | bytes | None = None, status: object = None, name: str = "") -> Path:
        """Add a run; text is written as it is."""
        place = self.folder / (name or f"{len(self.made):03}")
        place.mkdir(parents=True)
        if result is not None:
            _write(place / "result.json", result)
            status = {"status": "completed"} if status is None else status
        if status is not None:
            alive = {"time": "2026-11-27T12:00:00+00:00", "pid": 1, "host": "elsewhere"}
            _write(place / "status.json", {**alive, **status} if isinstance(status, dict) else status)
            (place / "train.log").touch()
        self.made.append(place)
        return place

    def grid(self, seeds: Iterable[int], noise: float = 0.0005, **factors: Iterable[Any]) -> None:
        """Add every combination with every seed; accuracy grows a little with each level of a factor."""
        chance = random.Random(0)
        lucks = {seed: chance.gauss(0, 0.001) for seed in seeds}
        levels = [list(values) for values in factors.values()]
        for steps in product(*(range(len(values)) for values in levels)):
            values = {name: levels[k][step] for k, (name, step) in enumerate(zip(factors, steps, strict=True))}
            gain = sum(0.02 * step / len(levels[k]) for k, step in enumerate(steps))
            for seed, luck in lucks.items():
                acc = 0.9 + gain + luck + chance.gauss(0, noise)
                fit_s = 5 * (1 + sum(steps)) * chance.uniform(0.9, 1.1)
                self.add(
                    result(config(seed=seed, **values), acc, acc - 0.001, fit_s=fit_s, images_per_s=275_000 / fit_s)
                )


def _write(path: Path, content: object) -> None:
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
