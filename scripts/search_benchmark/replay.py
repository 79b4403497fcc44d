"""Replays searches on recorded curves, and compares their results for the same budget."""

import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from curves import Curves, Rank
from policies import NOTHING, POLICIES, Steps, figures_of
from record import EPOCHS

FULL_RUNS = 30
BUDGET = FULL_RUNS * EPOCHS
GRID = range(2 * EPOCHS, BUDGET + 1, EPOCHS // 3)  # budgets of epochs
SHOWN = (90, 135, 180, BUDGET)
BY_BUDGET = "one epoch, then the best ninth"  # its number of draws follows from the budget


@dataclass(frozen=True)
class Found:
    """The best complete run of a search within a budget, by validation."""

    regret: float  # points of test accuracy below the best recorded configuration; infinite without a complete run
    seconds: float  # of training
    draws: int


Path = dict[int, Found]  # by budget


def replay(curves: Curves, policy: str, seed: int, rank: Rank = "loss", kept: Rank = "loss") -> Path:
    """Replay a search that compares runs by `rank`, and keeps the weights of the epoch with the best `kept`."""
    search = partial(POLICIES[policy], curves, seed, by=rank)
    if policy == BY_BUDGET:
        return {budget: _found(curves, search(budget=budget), [budget], rank, kept)[budget] for budget in GRID}
    return _found(curves, search(budget=BUDGET), GRID, rank, kept)


def _found(curves: Curves, steps: Steps, budgets: Sequence[int], rank: Rank, kept: Rank) -> Path:
    truths = curves.truths[kept]
    found: Path = {}
    left = list(budgets)
    epochs, draws = 0, set[int]()
    now, highest = Found(math.inf, 0.0, 0), NOTHING
    for step in steps:
        while left and epochs + step.cost > left[0]:
            found[left.pop(0)] = now
        if not left:
            break
        curve = curves.runs[step.draw]
        epochs += step.cost
        draws.add(step.draw)
        seconds = now.seconds + curve.seconds[max(0, step.reached - step.cost) : step.reached].sum()
        now = replace(now, seconds=seconds, draws=len(draws))
        if step.reached == EPOCHS and not curve.has_failed:
            figure = max(figures_of(curves, step.draw, EPOCHS, rank))
            if figure > highest:
                highest, now = figure, replace(now, regret=max(truths) - truths[step.draw])
    return found | dict.fromkeys(left, now)


def replays(
    curves: Curves, policy: str, repetitions: int, jobs: int, rank: Rank = "loss", kept: Rank = "loss"
) -> list[Path]:
    """Repeat a search with other draws."""
    with ProcessPoolExecutor(jobs) as pool:
        several = pool.map(partial(replay, curves, policy, rank=rank, kept=kept), range(repetitions), chunksize=5)
        return list(several)


def regret(paths: Sequence[Path], budget: int) -> tuple[float, float]:
    """Return the mean regret and its standard error; infinite if a search had no complete run yet."""
    values = [path[budget].regret for path in paths]
    if math.inf in values:
        return math.inf, math.inf
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def epochs_to(paths: Sequence[Path], goal: float) -> int | None:
    """Return the budget from which the mean regret is at most `goal`; None if it never is."""
    return next((budget for budget in GRID if regret(paths, budget)[0] <= goal), None)
