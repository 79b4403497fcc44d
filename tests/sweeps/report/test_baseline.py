import io
import random
import statistics
from pathlib import Path

import pytest
from made_up import Sweep, config, result
from rich.console import Console
from scipy.stats import ttest_rel

from mlplab.sweeps.report import Report

Accs = dict[tuple[str, str], list[tuple[float, float]]]
TRICKS = {
    "plain": {},
    "dropout": {"model": {"hidden": [128], "dropout": [0.2], "activation": "ReLU"}},
    "ema": {"averaging": {"name": "ema", "decay": 0.999}},
}
GAINS = {"plain": 0.0, "dropout": 0.004, "ema": -0.002}


@pytest.fixture
def accs(tmp_path: Path) -> Accs:
    """Validation and test accuracy of each seed, by data set and trick, of runs in `tmp_path`."""
    chance, sweep = random.Random(1), Sweep(tmp_path)
    found: Accs = {}
    for data, base in (("mnist", 0.98), ("fashion", 0.89)):
        for trick, changes in TRICKS.items():
            middle = base + GAINS[trick]
            found[data, trick] = [(middle + chance.gauss(0, 0.001), middle + chance.gauss(0, 0.001)) for _ in range(5)]
            for seed, (val, test) in enumerate(found[data, trick]):
                sweep.add(result(config(seed=seed, trick=trick, data__name=data, **changes), val, test))
    sweep.add(result(config(seed=9, trick="plain", data__name="mnist"), 0.5, 0.5))  # no other trick has its seed yet
    return found


def rows_against_plain(folder: Path) -> list[str]:
    Report.of(folder).write(pictures=False)
    _, _, rest = (folder / "report.md").read_text().partition("## Against plain\n\n")
    return rest.partition("\n\n")[0].splitlines()


def test_each_trick_is_compared_with_plain_on_each_data_set(accs: Accs, tmp_path: Path) -> None:
    report = Report.of(tmp_path)
    assert [factor.name for factor in report.table.factors] == ["data", "trick"]  # not what a trick stands for
    pairs = [("mnist", "dropout"), ("mnist", "ema"), ("fashion", "dropout"), ("fashion", "ema")]
    assert [one.configuration.values for one in report.differences] == pairs
    assert {comparison.factor for comparison in report.conclusions.comparisons} == {"data", "best configuration"}
    heading, _, *rows = rows_against_plain(tmp_path)
    assert heading == "| data | trick | val points | val from | val to | test points | test from | test to | seeds |"
    for (data, trick), row in zip(pairs, rows, strict=True):
        figures = []
        for own, plain in zip(
            zip(*accs[data, trick], strict=True), zip(*accs[data, "plain"], strict=True), strict=True
        ):
            both = ttest_rel(own, plain).confidence_interval(1 - 0.05 / 2)  # two tricks on a data set
            figures += [statistics.fmean(own) - statistics.fmean(plain), both.low, both.high]
        assert row == f"| {data} | {trick} | {' | '.join(f'{100 * figure:+.2f}' for figure in figures)} | 5 |"


def test_the_terminal_shows_the_comparison_with_plain(accs: Accs, tmp_path: Path) -> None:
    out = io.StringIO()
    Report.of(tmp_path).show(Console(width=80, file=out))
    assert "Against plain" in out.getvalue()
    assert "The test chooses nothing" in " ".join(out.getvalue().split())


def test_seeds_that_plain_lacks_are_left_out(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for seed in range(3):
        sweep.add(result(config(seed=seed, trick="plain"), 0.9 + 0.01 * seed))
    for seed in range(1, 5):
        sweep.add(result(config(seed=seed, trick="ema"), 0.91 + 0.01 * seed))
    assert rows_against_plain(tmp_path)[2:] == ["| ema | +1.00 | - | - | 0.00 | - | - | 2 |"]


def test_two_seeds_have_an_interval_only_if_it_excludes_0(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for trick, accs in (("plain", (0.97, 0.98)), ("ema", (0.96, 0.975)), ("swa", (0.80, 0.8102))):
        for seed, acc in enumerate(accs):
            sweep.add(result(config(seed=seed, trick=trick), acc, acc))
    ema, swa = rows_against_plain(tmp_path)[2:]
    assert ema == "| ema | -0.75 | - | - | -0.75 | - | - | 2 |"
    assert swa.startswith("| swa | -16.99 | -17.24 | -16.74 |")


def test_without_plain_levels_are_compared_with_the_best(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for trick, acc in (("ema", 0.9), ("swa", 0.95)):
        for seed in range(3):
            sweep.add(result(config(seed=seed, trick=trick), acc + 0.001 * seed * (trick == "ema")))
    report = Report.of(tmp_path)
    assert report.differences == ()
    assert report.conclusions.sentences[0].startswith("trick: swa is better than ema by")


def test_one_seed_is_not_compared(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for trick in ("plain", "ema"):
        sweep.add(result(config(trick=trick)))
    assert Report.of(tmp_path).differences == ()
