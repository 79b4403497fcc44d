"""Waves of draws, as a function of their outcomes."""

import functools
import itertools
import random
from collections.abc import Mapping, Sequence

import pytest

from mlplab.search.halving import Draw, Figure, Outcome, Piece, Rules, current, waves

RUNGS = (1, 3, 9)


@functools.cache
def chance(*what: object) -> float:
    return random.Random(f"{what}").random()


class Lab:
    """Trains made-up curves, the pieces of a wave in any order, and records the requests."""

    def __init__(self, seed: int, rules: Rules, pools: int = 1, failing: float = 0.0, size: int = 10**6) -> None:
        self.rules, self.pools, self.size = rules, pools, size
        self.seed, self.failing = seed, failing
        self.draws: list[Draw] = []
        self.trained: dict[int, int] = {}
        self.epochs = 0
        self.waves: dict[int, tuple[Piece, ...]] = {}
        self.known: dict[int, dict[int, int]] = {}  # by the number of the wave that was drawn

    def chance(self, *what: object) -> float:
        return chance(self.seed, *what)

    def fails(self, draw: int) -> bool:
        return self.chance("fails", draw) < self.failing

    def outcome(self, draw: int) -> Outcome:
        quality = self.chance("quality", draw)
        accs = [
            quality - 1 / (epoch + 2) + 0.1 * self.chance(draw, epoch) for epoch in range(self.trained.get(draw, 0))
        ]
        return Outcome([Figure.of(acc, 1 - acc) for acc in accs], has_failed=self.fails(draw) and draw in self.trained)

    def run(self, workers: int) -> None:
        order = random.Random(workers)
        while True:
            is_used_up = len(self.draws) >= self.size
            wave = current(self.rules, self.draws, self.outcome, is_used_up)
            if wave.to_draw:
                self.known[wave.number] = dict(wave.known)
                first = len(self.draws)
                new = range(first, min(first + wave.to_draw, self.size))
                self.draws += [Draw(number, wave.number, f"pool {number % self.pools}") for number in new]
                continue
            if not wave.pieces:
                return
            for one in waves(self.rules, self.draws, self.outcome, is_used_up):
                noted = self.waves.setdefault(one.number, one.pieces)
                assert one.to_draw or noted == one.pieces, "a wave is decided once"
            rungs = self.rules.rungs
            left = [piece for piece in wave.pieces if not self.outcome(piece.draw).is_over(rungs[piece.rung])]
            for piece in order.sample(left, min(workers, len(left))):
                before = self.trained.get(piece.draw, 0)
                self.trained[piece.draw] = 0 if self.fails(piece.draw) else rungs[piece.rung]
                self.epochs += max(0, self.trained[piece.draw] - before)


@pytest.mark.parametrize("seed", range(5))
def test_any_number_of_workers_makes_the_same_search(seed: int) -> None:
    labs = [Lab(seed, Rules(RUNGS, 9, 90), pools=2, failing=0.1) for _ in range(4)]
    for lab, workers in zip(labs, (1, 2, 4, 16), strict=True):
        lab.run(workers)
    assert labs[0].waves == labs[1].waves == labs[2].waves == labs[3].waves


@pytest.mark.parametrize("seed", range(5))
def test_a_third_goes_on_and_the_best_is_among_it(seed: int) -> None:
    lab = Lab(seed, Rules(RUNGS, 9, 270))
    lab.run(2)
    reached = [sum(epochs >= rung for epochs in lab.trained.values()) for rung in RUNGS]
    assert lab.epochs == pytest.approx(270, rel=0.1)
    assert reached[0] == len(lab.draws) >= 81
    assert reached[0] / 3 <= reached[1] <= reached[0] / 2  # a third of those that were there at the time
    assert reached[1] / 3 <= reached[2] <= reached[1] / 2
    for rung, following in itertools.pairwise(RUNGS):
        figures = {draw: lab.outcome(draw).at(rung) for draw in lab.trained if lab.trained[draw] >= rung}
        best = max(figures, key=lambda draw: figures[draw] or (-9, 0, 0))
        assert lab.trained[best] >= following


def test_pools_compete_among_themselves_until_the_last_rung() -> None:
    """Draws with even numbers look worse until the last rung."""
    lab = Lab(0, Rules(RUNGS, 6, 6 * 14), pools=2)
    lab.chance = lambda *what: (what[1] % 2 + 0.01 * what[1]) if what[0] == "quality" else 0.0  # type: ignore[operator]
    lab.run(1)
    ended = {draw % 2 for draw, epochs in lab.trained.items() if epochs == RUNGS[-1]}
    assert ended == {0, 1}


def test_a_draw_that_fails_is_the_worst_and_holds_up_nobody() -> None:
    lab = Lab(3, Rules(RUNGS, 9, 90), failing=0.4)
    lab.run(2)
    assert any(map(lab.fails, range(len(lab.draws))))
    assert max(lab.trained.values()) == RUNGS[-1]
    assert all(lab.trained[draw.number] == 0 for draw in lab.draws if lab.fails(draw.number))


def test_a_space_that_is_used_up_ends_the_search() -> None:
    lab = Lab(1, Rules(RUNGS, 9, 900), size=20)
    lab.run(2)
    assert len(lab.draws) == 20
    assert max(lab.trained.values()) == RUNGS[-1]


def test_more_budget_goes_on_from_the_same_draws() -> None:
    short, long = (Lab(2, Rules(RUNGS, 9, budget)) for budget in (90, 180))
    short.run(2)
    long.run(2)
    whole, count = long.epochs, len(long.draws)
    short.rules = Rules(RUNGS, 9, 180)
    short.waves, before = {}, dict(short.trained)
    short.run(2)
    assert len(short.draws) == count
    assert short.known == long.known  # although more is trained of some draws
    assert all(short.trained[draw] >= epochs for draw, epochs in before.items())
    assert short.epochs >= whole
    assert {draw for draw, epochs in long.trained.items() if epochs == 9} <= {
        draw for draw, epochs in short.trained.items() if epochs == 9
    }


def test_one_rung_is_a_search_without_halving() -> None:
    lab = Lab(0, Rules((9,), 9, 81))
    lab.run(4)
    assert set(lab.trained.values()) == {9}
    assert len(lab.draws) == 9


RISING = [(0.5, 1.0), (0.9, 0.5), (0.7, 0.1)]  # accuracy and loss of each epoch


@pytest.mark.parametrize(
    ("monitor", "epochs", "state", "at"),
    [
        ("val/acc", RISING, {}, {1: (0.5, 1.0), 3: (0.9, 0.5), 9: None}),
        ("val/loss", RISING, {}, {1: (0.5, 1.0), 2: (0.9, 0.5), 3: (0.7, 0.1)}),
        ("val/acc", [(0.5, 1.0), (0.6, 2.0)], {"has_ended": True}, {1: (0.5, 1.0), 3: (0.6, 2.0), 9: (0.6, 2.0)}),
        ("val/acc", [(0.5, 1.0)], {"has_failed": True}, {1: (0.5, 1.0), 3: None}),
        ("val/acc", [(0.5, 1.0), (0.5, 0.2)], {}, {2: (0.5, 0.2)}),  # ties by loss
    ],
)
def test_a_run_counts_by_the_best_epoch_so_far(
    monitor: str,
    epochs: Sequence[tuple[float, float]],
    state: Mapping[str, bool],
    at: Mapping[int, tuple[float, float] | None],
) -> None:
    outcome = Outcome([Figure.of(*epoch, monitor) for epoch in epochs], **state)
    expected = {rung: None if epoch is None else Figure.of(*epoch, monitor) for rung, epoch in at.items()}
    assert {rung: outcome.at(rung) for rung in at} == expected
