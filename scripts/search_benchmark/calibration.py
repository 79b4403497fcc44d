"""Checks over many replayed searches how often the interval of a winner contains the true difference.

The seeds recorded for a configuration stand for all seeds: each search draws from them, and their mean is the true
value.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from curves import Curves
from policies import figures_of, waves
from record import EPOCHS
from replay import BUDGET

from mlplab.sweeps.report.comparison import Comparison

FINALISTS, SEEDS = 3, 5  # the defaults of conf/search/halving.yaml
BASE = 0  # the draw of the base configuration


@dataclass(frozen=True)
class Judged:
    """A search's verdict on its winner and the base configuration, in fractions of 1."""

    holds: bool  # the interval of the difference contains the true one
    optimism: float  # of the search's own figure, by the held-out seeds
    true_optimism: float


def judged(curves: Curves, seed: int) -> Judged | None:
    """Replay a search and its finalists; None if nothing was better than the base configuration."""
    generator = random.Random(f"coverage {seed}")
    complete = [step.draw for step in waves(curves, seed, BUDGET) if step.reached == EPOCHS]
    figures = {draw: max(figures_of(curves, draw, EPOCHS, "loss")) for draw in complete if draw in curves.seeds}
    best = sorted((draw for draw in figures if draw != BASE), key=lambda draw: figures[draw])[-FINALISTS:]

    def drawn() -> list[int]:
        return generator.choices(range(len(curves.seeds[BASE])), k=SEEDS)

    choosing, quoted = drawn(), drawn()
    winner = max([*best, BASE], key=lambda draw: _mean(curves, draw, choosing))
    if winner == BASE:
        return None
    every = range(len(curves.seeds[BASE]))
    true = _mean(curves, winner, every) - _mean(curves, BASE, every)
    differences = {i: _accs(curves, winner)[k] - _accs(curves, BASE)[k] for i, k in enumerate(quoted)}
    found = Comparison.of("search", "winner", "base", differences, 2)
    sign = 1 if found.first == "winner" else -1
    low, high = sorted(sign * end for end in found.interval())
    seen = figures[winner].accuracy
    return Judged(low <= true <= high, seen - _mean(curves, winner, quoted), seen - _mean(curves, winner, every))


def _accs(curves: Curves, draw: int) -> list[float]:
    """Return the validation accuracy of each recorded seed, with the weights of the lowest loss."""
    return [float(one.val_acc[one.kept(EPOCHS, "loss")]) for one in curves.seeds[draw]]


def _mean(curves: Curves, draw: int, seeds: Sequence[int]) -> float:
    accs = _accs(curves, draw)
    return statistics.fmean(accs[k] for k in seeds)
