"""Draws of a space."""

import math

import pytest
from test_space import space

from mlplab.search import sampling
from mlplab.search.sampling import Trial
from mlplab.search.space import Assignment, Space

MIXED = (
    "model.hidden=16,32,64",
    "optimizer.lr=interval(1e-4,1e-1)",
    "optimizer=adam,sgd",
    'optimizer.momentum=tag("optimizer=sgd",interval(0.8,0.99))',
    "data.batch_size=interval(16,512)",
)


def anything(values: Assignment) -> bool:
    return True


def figure(values: Assignment) -> float:
    return 0.95 - 0.02 * abs(math.log10(float(values["optimizer.lr"])) + 2.5) - 0.02 * (values["optimizer"] == "sgd")


def history(of: Space, number: int) -> list[Trial]:
    drawn = sampling.at_random(of, number, anything, "history")
    return [Trial(values, 9 if i % 3 == 0 else 1, figure(values), i % 3 == 0) for i, values in enumerate(drawn)]


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    drawn = [sampling.at_random(space(*MIXED), 9, anything, seed) for seed in ("0 1", "0 1", "0 2")]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_values_are_of_the_space_and_conditions_hold(sampler: str) -> None:
    of = space(*MIXED)
    drawn = sampling.at_random(of, 40, anything, "1")
    if sampler == "tpe":
        pytest.importorskip("optuna")
        drawn = sampling.by_tpe(of, 12, anything, "1", history(of, 30))
    for values in drawn:
        assert values["model.hidden"] in ("16", "32", "64")
        assert 1e-4 <= float(values["optimizer.lr"]) <= 1e-1
        assert 16 <= int(values["data.batch_size"]) <= 512
        assert ("optimizer.momentum" in values) == (values["optimizer"] == "sgd")


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_nothing_is_drawn_twice_and_a_space_is_used_up(sampler: str) -> None:
    of = space("model.hidden=16,32,64", "optimizer=adam,sgd", "model.layers=1,2")
    known = {"model.hidden": "16", "optimizer": "sgd", "model.layers": "1"}
    draw = {
        "random": lambda: sampling.at_random(of, 20, known.__ne__, "0"),
        "tpe": lambda: sampling.by_tpe(of, 20, known.__ne__, "0", []),
        "grid": lambda: sampling.grid(of, 20, known.__ne__),
    }
    if sampler == "tpe":
        pytest.importorskip("optuna")
    drawn = draw[sampler]()
    assert len(drawn) == 11
    assert len({tuple(sorted(values.items())) for values in drawn}) == 11
    assert known not in drawn


@pytest.mark.parametrize("valid", [1 / 50, 0])
def test_few_valid_values_are_found_in_a_space_that_cannot_be_enumerated(valid: float) -> None:
    """20 draws would miss a fiftieth in two of three cases; without any valid values, the draws end."""
    of = space("model.dropout=interval(0,1)")
    drawn = sampling.at_random(of, 10, lambda values: float(values["model.dropout"]) < valid, "0")
    assert len(drawn) == (10 if valid else 0)


def test_tpe_finds_what_is_good() -> None:
    pytest.importorskip("optuna")
    of = space(*MIXED)
    known = history(of, 60)
    drawn = sampling.by_tpe(of, 20, anything, "3", known)
    mean = sum(map(figure, drawn)) / len(drawn)
    assert mean > sum(trial.score for trial in known) / len(known) + 0.005
    assert drawn == sampling.by_tpe(of, 20, anything, "3", known)
