"""The recorded runs, as functions of a configuration: the nearest recorded run stands for any other."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from record import BASE, EPOCHS, FIGURES, rows, space

from mlplab.search.space import Assignment, Dimension

Rank = Literal["accuracy", "loss"]  # metric by which runs are compared, or weights kept
RANKS: tuple[Rank, ...] = get_args(Rank)


@dataclass(frozen=True)
class Curve:
    """A recorded run: figures of each epoch, (E,); E is smaller if it diverged."""

    draw: int
    seed: int
    values: Assignment
    val_acc: np.ndarray
    val_loss: np.ndarray
    test_acc: np.ndarray
    seconds: np.ndarray

    @property
    def has_failed(self) -> bool:
        return len(self.val_acc) < EPOCHS

    def kept(self, epochs: int, by: Rank) -> int:
        """Return the epoch, from 0, whose weights are kept after `epochs`."""
        return int(self.val_acc[:epochs].argmax() if by == "accuracy" else self.val_loss[:epochs].argmin())


@dataclass(frozen=True)
class Curves:
    runs: Sequence[Curve]  # with seed 0, by draw
    seeds: dict[int, list[Curve]] = field(repr=False)  # runs of a draw with other seeds

    @classmethod
    def read(cls, path: Path) -> "Curves":
        curves = sorted(map(_curve, rows(path)), key=lambda one: (one.draw, one.seed))
        seeds: dict[int, list[Curve]] = {}
        for one in curves:
            if one.seed:
                seeds.setdefault(one.draw, []).append(one)
        return cls([one for one in curves if not one.seed], seeds)

    def nearest(self, values: Assignment, used: Collection[int]) -> int:
        """Return the nearest run that is not used yet, in the unit cube of the space."""
        distances = ((self._places - _place(values)) ** 2).sum(axis=1)
        distances[list(used)] = math.inf
        return int(distances.argmin())

    @cached_property
    def truths(self) -> dict[Rank, list[float]]:
        """Accuracy of each run on the test images, in percent, with the weights kept: the mean over all seeds."""
        return {by: [self._truth(curve.draw, by) for curve in self.runs] for by in RANKS}

    def _truth(self, draw: int, by: Rank) -> float:
        some = [one for one in (self.runs[draw], *self.seeds.get(draw, ())) if not one.has_failed]
        return 100 * float(np.mean([one.test_acc[one.kept(EPOCHS, by)] for one in some])) if some else 10.0

    @cached_property
    def _places(self) -> np.ndarray:
        return np.array([_place(curve.values) for curve in self.runs])


def _curve(row: dict[str, str]) -> Curve:
    figures = {name: [row[f"{name}_{epoch}"] for epoch in range(1, 1 + EPOCHS)] for name in FIGURES}
    arrays = {name: np.array([float(text) for text in texts if text]) for name, texts in figures.items()}
    return Curve(int(row["draw"]), int(row["seed"]), {key: row[key] for key in BASE}, **arrays)


def _place(values: Assignment) -> np.ndarray:
    return np.concatenate([_coordinates(one, values[one.key]) for one in space().dimensions])


def _coordinates(one: Dimension, text: str) -> list[float]:
    """Return coordinates in which two different choices are as far apart as the ends of a range."""
    if one.choices:
        return [math.sqrt(0.5) * (text == choice) for choice in one.choices]
    low, high, value = one.low, one.high, float(text)
    if one.is_log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return [(value - low) / (high - low)]
