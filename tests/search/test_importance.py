"""How much each key decided."""

import math
import random

import pytest

from mlplab.search.importance import importances


def draws(number: int) -> list[dict[str, str]]:
    dice = random.Random(0)
    return [
        {"lr": f"{10 ** dice.uniform(-4, -1):.3g}", "width": str(dice.randint(16, 512)), "name": dice.choice("ab")}
        for _ in range(number)
    ]


def test_the_key_that_decides_has_the_largest_share() -> None:
    drawn = draws(100)
    found = importances(drawn, [-abs(math.log10(float(one["lr"])) + 2.5) for one in drawn])
    assert found[0].key == "lr"
    assert found[0].share > 0.7
    assert sum(one.share for one in found) == pytest.approx(1)
    assert all(one.low <= one.share <= one.high for one in found[:1])
    found = importances(drawn, [float(one["name"] == "a") for one in drawn])
    assert found[0].key == "name"


def test_a_key_that_is_only_sometimes_there_can_decide() -> None:
    drawn = [{**one, **({"momentum": "0.9"} if one["name"] == "a" else {})} for one in draws(80)]
    found = importances(drawn, [float("momentum" in one) for one in drawn])
    assert {one.key for one in found[:2]} == {"momentum", "name"}


def test_few_draws_tell_nothing() -> None:
    assert importances(draws(10), [0.1] * 10) == []
