import io
import random
import statistics
from pathlib import Path

import pytest
from made_up import Sweep, config, result
from rich.console import Console
from scipy.stats import ttest_rel

from mlplab.sweeps.report import Report

TRICKS = {
    "plain": {},
    "dropout": {"model": {"hidden": [128], "dropout": [0.2], "activation": "ReLU"}},
    "ema": {"averaging": {"name": "ema", "decay": 0.999}},
}
SEEDS = range(5)
GAINS = {"plain": 0.0, "dropout": 0.004, "ema": -0.002}


@pytest.fixture
def accs(tmp_path: Path) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Validation and test accuracy of each seed, by data set and trick, of runs that lie in `tmp_path`."""
    chance, sweep = random.Random(1), Sweep(tmp_path)
    found = {}
    for data, base in (("mnist", 0.98), ("fashion", 0.89)):
        for trick, changes in TRICKS.items():
            found[data, trick] = [
                (base + GAINS[trick] + chance.gauss(0, 0.001), base + GAINS[trick] + chance.gauss(0, 0.001))
                for _ in SEEDS
            ]
            for seed, (val, test) in zip(SEEDS, found[data, trick], strict=True):
                sweep.add(result(config(seed=seed, trick=trick, data__name=data, **changes), val, test))
    sweep.add(result(config(seed=9, trick="plain", data__name="mnist"), 0.5, 0.5))  # no other trick has its seed yet
    return found


def test_what_a_name_stands_for_is_no_column(accs: object, tmp_path: Path) -> None:
    table = Report.of(tmp_path).table
    assert [column.name for column in table.columns] == ["data", "trick"]
    assert len(table.configurations) == 6


def test_each_level_is_compared_with_the_reference_on_each_data_set(
    accs: dict[tuple[str, str], list[tuple[float, float]]], tmp_path: Path
) -> None:
    gains = Report.of(tmp_path).gains
    assert [gain.configuration.values for gain in gains] == [
        ("mnist", "dropout"),
        ("mnist", "ema"),
        ("fashion", "dropout"),
        ("fashion", "ema"),
    ]
    for gain in gains:
        data, trick = map(str, gain.configuration.values)
        val, test = zip(*accs[data, trick], strict=True)
        plain_val, plain_test = zip(*accs[data, "plain"], strict=True)
        for comparison, accs_of, of_plain in ((gain.val, val, plain_val), (gain.test, test, plain_test)):
            two = ttest_rel(accs_of, of_plain).confidence_interval(1 - 0.05 / 2)  # two tricks on a data set
            assert comparison.interval() == pytest.approx((two.low, two.high), rel=1e-9)
            assert comparison.mean == pytest.approx(statistics.fmean(accs_of) - statistics.fmean(of_plain))


def test_the_sentences_are_about_other_settings(accs: object, tmp_path: Path) -> None:
    factors = {comparison.factor for comparison in Report.of(tmp_path).answer.comparisons}
    assert factors == {"data", "best configuration"}


def test_the_report_has_a_row_for_each(accs: object, tmp_path: Path) -> None:
    report = Report.of(tmp_path)
    report.write(pictures=False)
    _, _, rest = (tmp_path / "report.md").read_text().partition("## Against plain\n\n")
    heading, _, *rows = rest.splitlines()[:6]
    assert heading == "| data | trick | val points | val from | val to | test points | test from | test to | seeds |"
    for row, gain in zip(rows, report.gains, strict=True):
        parts = [(comparison.mean, *comparison.interval()) for comparison in (gain.val, gain.test)]
        figures = [f"{100 * number:+.2f}" for number in (*parts[0], *parts[1])]
        assert row == f"| {' | '.join([*map(str, gain.configuration.values), *figures, '5'])} |"
    out = io.StringIO()
    report.show(Console(width=80, file=out))
    shown = out.getvalue()
    assert "Against plain" in shown
    assert "chooses nothing" in " ".join(shown.split())


def test_a_seed_that_one_of_them_lacks_is_left_out(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for seed in range(3):
        sweep.add(result(config(seed=seed, trick="plain"), 0.9 + 0.01 * seed))
    for seed in range(1, 5):
        sweep.add(result(config(seed=seed, trick="ema"), 0.91 + 0.01 * seed))
    (gain,) = Report.of(tmp_path).gains
    assert list(gain.val.differences) == [1, 2]
    assert not gain.val.has_spread
    Report.of(tmp_path).write(pictures=False)
    assert "| ema | +1.00 | - | - | 0.00 | - | - | 2 |" in (tmp_path / "report.md").read_text()


def test_two_seeds_are_given_no_interval_that_says_nothing(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for trick, accs in (("plain", (0.97, 0.98)), ("ema", (0.96, 0.975)), ("swa", (0.80, 0.8102))):
        for seed, acc in enumerate(accs):
            sweep.add(result(config(seed=seed, trick=trick), acc, acc))
    Report.of(tmp_path).write(pictures=False)
    text = (tmp_path / "report.md").read_text()
    assert "| ema | -0.75 | - | - | -0.75 | - | - | 2 |" in text
    assert "| swa | -16.99 | -17.24 | -16.74 |" in text  # this one says something


def test_without_the_reference_levels_are_compared_with_the_best(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for trick, acc in (("ema", 0.9), ("swa", 0.95)):
        for seed in range(3):
            sweep.add(result(config(seed=seed, trick=trick), acc + 0.001 * seed * (trick == "ema")))
    report = Report.of(tmp_path)
    assert report.gains == ()
    assert report.answer.sentences[0].startswith("trick: swa is better than ema by")


def test_one_seed_is_not_compared(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for trick in ("plain", "ema"):
        sweep.add(result(config(trick=trick)))
    assert Report.of(tmp_path).gains == ()
