"""Searches, replayed on recorded curves: this project's, those of other libraries, and simple ones.

Each yields the parts of runs that it trains, in turn. Random draws are the recorded runs, in a random order.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from curves import Curves, Rank
from record import EPOCHS, space

from mlplab.search import halving, sampling
from mlplab.search.halving import Draw, Figure, Outcome, Rules
from mlplab.search.sampling import Trial
from mlplab.search.space import Assignment

RUNGS = (1, 3, EPOCHS)
WAVE = 4
THIRD = 3
MONITOR: dict[Rank, str] = {"accuracy": "val/acc", "loss": "val/loss"}
NOTHING = Figure(-math.inf, -math.inf, 0.0)


@dataclass(frozen=True)
class Trained:
    """A part of a run: epochs of training that it cost, and the epoch it reached."""

    draw: int
    cost: int
    reached: int


Steps = Iterator[Trained]


def full(curves: Curves, seed: int, budget: int, by: Rank = "loss") -> Steps:
    """Random search, without early stopping."""
    for draw in _order(curves, seed):
        yield Trained(draw, EPOCHS, EPOCHS)


def one_epoch_then_the_best(curves: Curves, seed: int, budget: int, by: Rank = "loss") -> Steps:
    """Train one epoch of each draw, then the best ninth to the end (after Egele et al. 2024, arXiv:2404.04111)."""
    draws = _order(curves, seed)[: round(budget / (1 + (EPOCHS - 1) / EPOCHS))]
    yield from (Trained(draw, 1, 1) for draw in draws)
    for draw in _best(curves, draws, 1, len(draws) // EPOCHS, by):
        yield Trained(draw, EPOCHS - 1, EPOCHS)


def hyperband(curves: Curves, seed: int, budget: int, by: Rank = "loss") -> Steps:
    """The brackets of Keras Tuner's Hyperband with factor 3; a promoted run is continued."""
    draws = iter(_order(curves, seed))
    while True:
        for bracket in (2, 1, 0):
            size = math.ceil((1 + 2) * THIRD**bracket / (bracket + 1))
            some = [draw for _, draw in zip(range(size), draws, strict=False)]
            if len(some) < size:
                return
            before = 0
            for rung in RUNGS[2 - bracket :]:
                yield from (Trained(draw, rung - before, rung) for draw in some)
                some, before = _best(curves, some, rung, max(1, len(some) // THIRD), by), rung


def waves(
    curves: Curves,
    seed: int,
    budget: int,
    sampler: Literal["random", "tpe"] = "random",
    by: Rank = "loss",
    rungs: Sequence[int] = RUNGS,
    trains_anew: bool = False,
) -> Steps:
    """The search of this project; `trains_anew` at each promotion, as libraries without exact resume do."""
    rules = Rules(tuple(rungs), WAVE, budget)
    drawn: list[int] = []  # the recorded run of each draw
    reached: defaultdict[int, int] = defaultdict(int)
    draws: list[Draw] = []
    asked: list[Assignment] = []
    order = iter(_order(curves, seed))

    def is_new(values: Assignment) -> bool:
        return values not in asked

    def outcome(number: int) -> Outcome:
        curve, epochs = curves.runs[drawn[number]], reached[number]
        figures = figures_of(curves, drawn[number], epochs, by)
        if len(curve.val_acc) < epochs:
            return Outcome(figures, has_failed=True)
        return Outcome(figures, has_ended=epochs == EPOCHS)

    while (wave := halving.current(rules, draws, outcome)).to_draw or wave.pieces:
        if wave.to_draw and sampler == "tpe" and wave.known:
            known = [(number, rules.rungs[rung]) for number, rung in wave.known.items()]
            history = [_trial(asked[number], outcome(number), epochs) for number, epochs in known]
            new = sampling.by_tpe(space(), WAVE, is_new, f"{seed} {wave.number}", history)
            for values in new:
                asked.append(values)
                drawn.append(curves.nearest(values, drawn))
        elif wave.to_draw:
            new_draws = [next(order) for _ in range(WAVE)]
            drawn += new_draws
            asked += [curves.runs[draw].values for draw in new_draws]
        draws += [Draw(number, wave.number) for number in range(len(draws), len(drawn))]
        for piece in wave.pieces:
            until = rules.rungs[piece.rung]
            cost = until - (0 if trains_anew else reached[piece.draw])
            reached[piece.draw] = until
            yield Trained(drawn[piece.draw], cost, until)


def _trial(values: Assignment, became: Outcome, epochs: int) -> Trial:
    if became.has_failed:
        return Trial(values, RUNGS[0], -1e9, False)
    return Trial(values, epochs, max(became.figures).score, epochs == EPOCHS)


def optuna(curves: Curves, seed: int, budget: int, pruner: str, by: Rank = "loss") -> Steps:
    """Optuna's loop with its default sampler: a trial that its pruner stops is not resumed."""
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    pruners: dict[str, Any] = {
        "none": library.pruners.NopPruner,
        "median": library.pruners.MedianPruner,
        "halving": partial(library.pruners.SuccessiveHalvingPruner, min_resource=1, reduction_factor=THIRD),
        "hyperband": partial(library.pruners.HyperbandPruner, min_resource=1, max_resource=EPOCHS),
    }
    study = library.create_study(
        sampler=library.samplers.TPESampler(seed=seed), pruner=pruners[pruner](), direction="maximize"
    )
    used: list[int] = []
    while len(used) < len(curves.runs):
        trial = study.ask()
        values = sampling.suggested(space(), trial)
        used.append(draw := curves.nearest(values, used))
        figures = figures_of(curves, draw, EPOCHS, by)
        epoch = 0
        for epoch, figure in enumerate(figures, 1):
            trial.report(figure.score, epoch)
            if trial.should_prune():
                study.tell(trial, state=library.trial.TrialState.PRUNED)
                break
        else:
            if len(figures) < EPOCHS:
                study.tell(trial, state=library.trial.TrialState.FAIL)
            else:
                study.tell(trial, max(figures).score)
        yield Trained(draw, epoch or 1, epoch)


def figures_of(curves: Curves, draw: int, epochs: int, by: Rank) -> list[Figure]:
    """Return the figures by which runs are compared after each epoch: greater is better."""
    curve = curves.runs[draw]
    pairs = zip(curve.val_acc[:epochs].tolist(), curve.val_loss[:epochs].tolist(), strict=True)
    return [Figure.of(acc, loss, MONITOR[by]) for acc, loss in pairs]


def _best(curves: Curves, draws: Sequence[int], epochs: int, number: int, by: Rank) -> list[int]:
    def figure(draw: int) -> Figure:
        return max(figures_of(curves, draw, epochs, by), default=NOTHING)

    return sorted(draws, key=figure, reverse=True)[:number]


def _order(curves: Curves, seed: int) -> list[int]:
    return random.Random(f"order {seed}").sample(range(len(curves.runs)), len(curves.runs))


POLICIES: dict[str, Callable[..., Steps]] = {
    "random search": full,
    "one epoch, then the best ninth": one_epoch_then_the_best,
    "Keras Tuner's Hyperband": hyperband,
    "Optuna, TPE without pruner": partial(optuna, pruner="none"),
    "Optuna, TPE with MedianPruner": partial(optuna, pruner="median"),
    "Optuna, TPE with SuccessiveHalvingPruner": partial(optuna, pruner="halving"),
    "Optuna, TPE with HyperbandPruner": partial(optuna, pruner="hyperband"),
    "mlplab, random draws, trained anew at each promotion": partial(waves, trains_anew=True),
    "mlplab, random draws": waves,
    "mlplab, TPE": partial(waves, sampler="tpe"),
    "mlplab, TPE, no rungs": partial(waves, sampler="tpe", rungs=(EPOCHS,)),
}
