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
    """Create runs in `tmp_path`; return validation and test accuracy of each seed, by data set and trick."""
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
    assert [factor.name for factor in report.table.factors] == ["data", "trick"]  # not the settings of a trick
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
    assert "Test accuracy selects nothing" in " ".join(out.getvalue().split())


@pytest.mark.parametrize(
    ("accs", "rows"),
    [
        (  # seeds that plain lacks are left out, or it lacks all but one
            {"plain": [0.9, 0.91, 0.92, None, None], "ema": [None, 0.92, 0.93, 0.94, 0.95]},
            ["| ema | +1.00 | - | - | +1.00 | - | - | 2 |"],
        ),
        ({"plain": [0.97], "ema": [0.97]}, []),
        (  # two seeds have an interval only if it excludes 0
            {"plain": [0.97, 0.98], "ema": [0.96, 0.975], "swa": [0.80, 0.8102]},
            ["| ema | -0.75 | - | - | -0.75 | - | - | 2 |", "| swa | -16.99 | -17.24 | -16.74 |"],
        ),
        ({"ema": [0.9, 0.901, 0.902], "swa": [0.95, 0.95, 0.95]}, []),  # without plain
    ],
)
def test_few_seeds_or_no_plain(tmp_path: Path, accs: dict[str, list[float | None]], rows: list[str]) -> None:
    sweep = Sweep(tmp_path)
    for trick, of_seeds in accs.items():
        for seed, acc in enumerate(of_seeds):
            if acc is not None:
                sweep.add(result(config(seed=seed, trick=trick), acc, acc))
    found = rows_against_plain(tmp_path)[2:]
    assert [row.startswith(begin) for row, begin in zip(found, rows, strict=True)] == [True] * len(rows)
    if "plain" not in accs:
        assert Report.of(tmp_path).conclusions.sentences[0].startswith("trick: swa is better than ema by")
