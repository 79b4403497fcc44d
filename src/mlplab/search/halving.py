"""Successive halving in waves: the next step of a search, as a function of its draws and their outcomes.

A wave makes a number of new draws, and promotes each run among the best third of all that ever reached its rung.
Nothing is decided within a wave, so that any number of workers, and any kill, leads to the same search. After Jamieson
and Talwalkar 2016 (arXiv:1502.07943); comparing a run with all that ever reached its rung is from Li et al. 2020
(arXiv:1810.05934).
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

SHARE = 3  # one out of this many is promoted
PROMOTED = 0.4  # share promoted in practice, because later runs push out some that were among the best


class Figure(NamedTuple):
    """A validation result; greater is better."""

    score: float  # accuracy, or negative loss
    tie: float  # the other one
    accuracy: float

    @classmethod
    def of(cls, accuracy: float, loss: float, monitor: str = "val/loss") -> Self:
        """Return a figure by which runs are compared by `monitor`, val/loss or val/acc."""
        return cls(-loss, accuracy, accuracy) if monitor == "val/loss" else cls(accuracy, -loss, accuracy)


@dataclass(frozen=True)
class Draw:
    """One configuration of the space. Draws of one pool compete until the last rung."""

    number: int
    wave: int
    pool: str = ""


@dataclass(frozen=True)
class Outcome:
    """The progress of a run so far.

    Args:
        figures: of the validation after each epoch.
        has_ended: no epoch follows, because all are trained or it stopped early.
        has_failed: no epoch follows, and the run counts as the worst.
        seconds: of each epoch, with its validation.
    """

    figures: Sequence[Figure] = ()
    has_ended: bool = False
    has_failed: bool = False
    seconds: Sequence[float] = ()

    def at(self, epochs: int) -> Figure | None:
        """Return the best figure within these epochs; None if it has not reached them."""
        if len(self.figures) >= epochs or self.has_ended:
            return max(self.figures[:epochs], default=None)
        return None

    def is_over(self, epochs: int) -> bool:
        return self.has_failed or self.at(epochs) is not None


@dataclass(frozen=True)
class Rules:
    rungs: tuple[int, ...]  # epochs, rising; the last is a whole run
    wave: int  # draws that are made at once
    budget: float = math.inf  # epochs of all draws together
    waves: float = math.inf  # waves that draw, at most; those that follow only promote

    def epochs(self, rung: int) -> int:
        """Return the epochs since the previous rung."""
        return self.rungs[rung] - (self.rungs[rung - 1] if rung else 0)

    def draws_in(self, number: int, used: int) -> bool:
        """Tell whether a wave draws, after `used` epochs: if most of it fits, with the promotions expected."""
        needed = self.wave * (self.epochs_a_draw() - self.rungs[0] / 2)
        return number < self.waves and (number == 0 or used + needed <= self.budget)

    def expected_draws(self) -> int:
        """Estimate the number of draws within the budget."""
        return max(self.wave, round(self.budget / self.epochs_a_draw()))

    def epochs_a_draw(self) -> float:
        """Estimate the mean epochs of a draw; most draws are paused."""
        return sum(self.epochs(rung) * PROMOTED**rung for rung in range(len(self.rungs)))


@dataclass(frozen=True)
class Piece:
    """Train a draw up to a rung."""

    draw: int
    rung: int


@dataclass(frozen=True)
class Wave:
    """A step: draws to be made first, or pieces to be trained; neither if the search is over.

    `known` are the draws that count for new ones, each with its last rung.
    """

    number: int
    pieces: tuple[Piece, ...] = ()
    to_draw: int = 0
    known: Mapping[int, int] = field(default_factory=dict)


def current(rules: Rules, draws: Sequence[Draw], outcome: Callable[[int], Outcome], is_used_up: bool = False) -> Wave:
    """Return the first wave that is not over; see `waves`."""
    *_, last = waves(rules, draws, outcome, is_used_up)
    return last


def waves(
    rules: Rules, draws: Sequence[Draw], outcome: Callable[[int], Outcome], is_used_up: bool = False
) -> Iterator[Wave]:
    """Yield the waves from the first to the one that is not over.

    Args:
        rules: of the search.
        draws: all draws so far, by number.
        outcome: of a draw.
        is_used_up: nothing is left to draw in the space.
    """
    by_number = {draw.number: draw for draw in draws}
    reached: list[list[Draw]] = [[] for _ in rules.rungs]  # by rung, in the order in which they came
    known: dict[int, int] = {}  # the last rung of each draw
    used = 0  # epochs
    for number in itertools.count():
        may_draw = rules.draws_in(number, used)
        new = [Piece(draw.number, 0) for draw in draws if may_draw and draw.wave == number]
        if may_draw and not new and not is_used_up:
            yield Wave(number, to_draw=rules.wave, known=known)
            return
        best = _best(rules, outcome, reached, at_least=0 if new else 1)  # once nothing more is drawn, one of each pool
        pieces = (*(piece for piece in best if known[piece.draw] == piece.rung - 1), *new)
        yield Wave(number, pieces)
        if not pieces or not all(outcome(piece.draw).is_over(rules.rungs[piece.rung]) for piece in pieces):
            return
        for piece in pieces:
            reached[piece.rung].append(by_number[piece.draw])
            known[piece.draw] = piece.rung
            used += rules.epochs(piece.rung)


def _best(
    rules: Rules, outcome: Callable[[int], Outcome], reached: Sequence[Sequence[Draw]], at_least: int
) -> Iterator[Piece]:
    """Yield the next piece of each draw that is among the best third of its pool at any rung but the last."""
    for rung, epochs in enumerate(rules.rungs[:-1]):
        pools: defaultdict[str, list[tuple[Figure | None, int]]] = defaultdict(list)
        for draw in reached[rung]:
            pools[draw.pool].append((outcome(draw.number).at(epochs), -draw.number))
        for of_pool in pools.values():
            ranked = sorted(((figure, number) for figure, number in of_pool if figure is not None), reverse=True)
            yield from (Piece(-number, rung + 1) for _, number in ranked[: max(len(of_pool) // SHARE, at_least)])
