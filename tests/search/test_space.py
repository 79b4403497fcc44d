"""The search space of a command."""

import math
import random

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mlplab.search.space import Space


def space(*words: str) -> Space:
    found, mistakes = Space.of(OverridesParser.create().parse_overrides(list(words)))
    assert mistakes == []
    return found


def mistakes(*words: str) -> list[str]:
    return Space.of(OverridesParser.create().parse_overrides(list(words)))[1]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizer=adam,sgd", "optimizer: adam, sgd"),
        ("model.hidden=64,[128,128]", "model.hidden: 64, [128,128]"),
        ("model.hidden=range(32,129,step=32)", "model.hidden: 32, 64, 96, 128"),
        ("optimizer.lr=interval(1e-4,1e-1)", "optimizer.lr: 0.0001 to 0.1 on a log scale"),
        ("optimizer.lr=interval(1e-2,1e-1)", "optimizer.lr: 0.01 to 0.1 on a linear scale"),
        ("optimizer.lr=tag(log,interval(1e-2,1e-1))", "optimizer.lr: 0.01 to 0.1 on a log scale"),
        ("optimizer.lr=tag(linear,interval(1e-4,1e-1))", "optimizer.lr: 0.0001 to 0.1 on a linear scale"),
        ("model.dropout=interval(0,0.5)", "model.dropout: 0 to 0.5 on a linear scale"),
        ("model.hidden=interval(16,512)", "model.hidden: whole numbers 16 to 512 on a linear scale"),
        ("optimizer.foo=int(interval(1,9))", "optimizer.foo: whole numbers 1 to 9 on a linear scale"),
    ],
)
def test_how_a_dimension_is_understood(word: str, said: str) -> None:
    (dimension,) = space(word).dimensions
    assert str(dimension) == said


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("optimizer.lr=interval(1e-4,1e-1)", lambda share: 1e-4 * 1000**share),
        ("model.dropout=interval(0,0.5)", lambda share: 0.5 * share),
        ("data.batch_size=interval(16,512)", lambda share: math.floor(16 + 497 * share)),
        ("data.batch_size=tag(log,interval(16,512))", lambda share: round(16 * 32**share)),
    ],
)
def test_values_spread_over_the_scale_and_have_three_digits(word: str, expected: object) -> None:
    (dimension,) = space(word).dimensions
    for share in (0.0, *(random.Random(0).random() for _ in range(99)), 0.999999):
        text = dimension.at(share)
        assert float(text) == pytest.approx(expected(share), rel=6e-3)  # type: ignore[operator]
        assert dimension.low <= float(text) <= dimension.high
        assert float(text) == float(f"{float(text):.3g}")


@pytest.mark.parametrize(
    ("word", "is_log"),
    [
        ("optimizer.lr=interval(1e-4,1e-1)", True),
        ("model.dropout=tag(linear,interval(0.001,0.5))", False),
        ("optimizer.lr=tag(log,interval(1e-2,1e-1))", True),
        ("optimizer.lr=0.001,0.01,0.1", True),
        ("data.batch_size=32,64", False),
        ("optimizer.weight_decay=0,0.01,0.1", False),
        ("optimizer=adam,sgd", False),
    ],
)
def test_charts_have_the_scale_of_a_range_and_of_choices_that_are_as_far_apart(word: str, is_log: bool) -> None:
    (dimension,) = space(word).dimensions
    assert dimension.is_drawn_on_log == is_log


def test_a_condition_says_where_a_value_is_drawn() -> None:
    found = space('optimizer.momentum=tag("optimizer=sgd",interval(0.8,0.99))', "optimizer=adam,sgd", "seed=3")
    assert [one.key for one in found.dimensions] == ["optimizer", "optimizer.momentum"]
    momentum = found.dimensions[1]
    assert [found.active(momentum, {"optimizer": name}) for name in ("adam", "sgd")] == [False, True]
    assert found.overrides({"optimizer": "adam"}) == ("seed=3", "optimizer=adam")


def test_a_condition_may_name_what_is_fixed() -> None:
    found = space('optimizer.momentum=tag("optimizer=sgd",interval(0.8,0.99))', "optimizer=sgd")
    assert found.active(found.dimensions[0], {})


@pytest.mark.parametrize("condition", ["model.batch_norm=true", "model.dropout=5e-1"])
def test_a_condition_may_be_spelled_differently(condition: str) -> None:
    found = space(
        "model.batch_norm=true,false", "model.dropout=0.50,0.2", f'optimizer.lr=tag("{condition}",interval(1e-4,1e-1))'
    )
    drawn = [
        found.active(found.dimensions[-1], values)
        for values in ({"model.batch_norm": "True", "model.dropout": "0.50"}, {})
    ]
    assert drawn == [True, False]


def test_a_depth_may_be_a_range_of_whole_numbers() -> None:
    found = space("model.layers=interval(1,3)", "model.hidden=64")
    assert {found.dimensions[0].at(share) for share in (0, 0.5, 0.99)} == {"1", "2", "3"}


def test_depth_repeats_the_width() -> None:
    found = space("model.hidden=interval(32,512)", "model.layers=1,2,3")
    assert found.overrides({"model.hidden": "181", "model.layers": "2"}) == ("model.hidden=[181,181]",)
    assert found.overrides({}) == ()


def test_a_finite_space_can_be_counted() -> None:
    found = space(
        "optimizer=adam,sgd",
        'optimizer.momentum=tag("optimizer=sgd",choice(0,0.9))',
        "model.layers=1,2",
        "model.hidden=8",
    )
    every = list(found.all())
    assert len(every) == found.size == 6
    assert len({tuple(values.items()) for values in every}) == 6
    assert space("optimizer.lr=interval(0.1,1)").size == math.inf


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1,2"], "seed: cannot be searched: the best seed"),
        (["data.split_seed=range(0,3)"], "data.split_seed: cannot be searched"),
        (["trainer.max_epochs=5,10"], "trainer.max_epochs: cannot be searched"),
        (["model.hidden=[interval(1,2),3]"], "a range cannot be part of a list"),
        (["optimizer.lr=interval(1,0.1)"], "from a lower to a higher number"),
        (["optimizer.lr=tag(log,interval(0,1))"], "a log scale needs positive ends"),
        (["optimizer.lr=tag(lg,interval(0,1))"], "a tag must be log, linear or a condition"),
        (["optimizer.lr=tag(log,linear,interval(0.1,1))"], "at most one condition and one scale are allowed"),
        (["optimizer.lr=tag(log,choice(1,2))"], "only an interval can have a scale"),
        (['optimizer.momentum=tag("optimizer=sdg",interval(0,1))', "optimizer=adam,sgd"], "never holds in this space"),
        (['optimizer.momentum=tag("optimizer=sgd",interval(0,1))'], "give optimizer in the command, too"),
        (['optimizer.lr=tag("optimizer=sgd",tag(log,interval(0.1,0.9)))'], "a tag cannot be within another"),
        (["model.layers=1,2"], "needs model.hidden"),
        (["model.layers=0,1", "model.hidden=8"], "must be numbers of layers, at least 1"),
        (["model.layers=interval(0.5,3)", "model.hidden=8"], "must be numbers of layers, at least 1"),
    ],
)
def test_what_is_wrong_with_a_space(words: list[str], said: str) -> None:
    (line,) = mistakes(*words)
    assert said in line


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes("seed=1,2", "optimizer.lr=interval(1,1)", "model.layers=0")) == 3
    assert len(mistakes("seed=1,2", "optimizer.lr=interval(1,1)", "model.layers=0,1", "model.hidden=4")) == 3
