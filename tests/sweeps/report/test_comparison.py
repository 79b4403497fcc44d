import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from made_up import OPTIMIZERS, Sweep, config, result
from scipy.stats import t, ttest_rel

from mlplab.sweeps.report import Report
from mlplab.sweeps.report.comparison import CONFIDENCE, MOST_SENTENCES, ONE_SEED, Answer, Comparison

FOOTER = (
    "Points are hundredths of validation accuracy; the intervals, over pairs of runs with the same seed, hold with 95%"
    " confidence"
)
SGD = [0.95, 0.96, 0.94]


def answer(folder: Path, accs: Mapping[tuple[str, int], Sequence[float | None]]) -> Answer:
    """Of an optimizer and a width each, with an accuracy a seed; None for a run that diverged."""
    sweep = Sweep(folder)
    for (optimizer, width), of_seeds in accs.items():
        for seed, acc in enumerate(of_seeds):
            of_run = config(seed=seed, optimizer=OPTIMIZERS[optimizer], model__hidden=[width])
            if acc is None:
                sweep.add(status={"status": "diverged"})
            else:
                sweep.add(result(of_run, acc))
    return Report.of(folder).answer


def sgd_and(accs: Sequence[float]) -> dict[tuple[str, int], Sequence[float | None]]:
    return {("SGD", 64): SGD[: len(accs)], ("Adam", 64): accs}


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_intervals_are_those_of_scipy(seeds: int, tmp_path: Path) -> None:
    adam = [0.97 + 0.001 * (seed * 7 % 5) for seed in range(seeds)]
    sgd = [0.96 + 0.001 * (seed * 3 % 4) for seed in range(seeds)]
    (comparison,) = answer(tmp_path, {("SGD", 64): sgd, ("Adam", 64): adam}).comparisons
    test = ttest_rel(adam, sgd)
    for levels, pairs in ((2, 1), (3, 3), (9, 36)):
        oracle = test.confidence_interval(1 - (1 - CONFIDENCE) / pairs)
        among = Comparison.of("optimizer", "Adam", "SGD", comparison.differences, levels)
        assert among.interval() == pytest.approx((oracle.low, oracle.high), rel=1e-9)


def test_sentences_of_several_comparisons_take_the_interval_that_holds_for_all(tmp_path: Path) -> None:
    sgd, adam = [0.95, 0.96, 0.94, 0.93], [0.96, 0.97, 0.951, 0.943]
    found = answer(
        tmp_path,
        {
            ("SGD", 64): sgd,
            ("Adam", 64): adam,
            ("RMSprop", 64): [0.955, 0.962, 0.95, 0.93],
        },
    )
    assert len(found.comparisons) == 2
    oracle = ttest_rel(adam, sgd).confidence_interval(1 - 0.05 / 3)
    interval = f"{100 * oracle.low:.2f} to {100 * oracle.high:.2f}"
    assert found.sentences[1] == f"optimizer: Adam is better than SGD by 1.10 points ({interval}, 4 seeds)."
    assert found.sentences[-1] == f"{FOOTER} for all pairs of a factor, or of configurations, together (Bonferroni)."


def test_better(tmp_path: Path) -> None:
    assert answer(tmp_path, sgd_and([0.96, 0.972, 0.951])).sentences == (
        "optimizer: Adam is better than SGD by 1.10 points (0.85 to 1.35, 3 seeds).",
        f"{FOOTER}.",
    )


def test_no_difference(tmp_path: Path) -> None:
    assert answer(tmp_path, sgd_and([0.96, 0.948, 0.951])).sentences == (
        "optimizer: Adam and SGD cannot be told apart: 0.30 points (-2.93 to 3.53, 3 seeds).",
        f"{FOOTER}.",
    )


def test_where_seeds_are_too_few_it_is_said_how_many_would_do(tmp_path: Path) -> None:
    """With two, and where an interval is wider than differences can be; if mean and spread stayed as they are."""
    (sentence,) = answer(tmp_path / "two", sgd_and([0.96, 0.972])).sentences
    assert sentence == "optimizer: Adam and SGD are 1.10 points apart: 2 seeds are too few to tell, 3 would do."
    few = Comparison.of("optimizer", "Adam", "SGD", {0: 0.9, 1: -0.3, 2: 0.9}, 30)
    assert few.interval()[1] > 1
    assert few.sentence().endswith(f"3 seeds are too few to tell, {few.seeds_needed()} would do.")
    for seeds in (few.seeds_needed() - 1, few.seeds_needed()):
        reach = t.ppf(1 - 0.05 / math.comb(30, 2) / 2, seeds - 1) * statistics.stdev([0.9, -0.3, 0.9]) / seeds**0.5
        assert (reach < 0.5) == (seeds == few.seeds_needed())
    equal = Comparison.of("optimizer", "Adam", "SGD", {0: 0.01, 1: -0.01}, 2)
    assert equal.sentence().endswith("2 seeds are too few to tell, not even 1,000 would do.")
    clear = Comparison.of("optimizer", "Adam", "SGD", {0: 0.01, 1: 0.0101}, 2)
    assert clear.sentence().startswith("optimizer: Adam is better than SGD by 1.00 points (")


def test_an_end_close_to_0_is_given_the_digits_that_show_its_side(tmp_path: Path) -> None:
    close = [acc + 3e-5 + step for acc, step in zip(SGD, (0, 1e-5, 2e-5), strict=True)]
    assert answer(tmp_path, sgd_and(close)).sentences[0] == (
        "optimizer: Adam is better than SGD by 0.004 points (0.002 to 0.006, 3 seeds)."
    )


def test_equal(tmp_path: Path) -> None:
    found = answer(tmp_path, sgd_and(SGD)).sentences
    assert found == ("optimizer: Adam and SGD are equal with each of 3 seeds.",)


def test_ahead_by_the_same_with_each_seed(tmp_path: Path) -> None:
    assert answer(tmp_path, sgd_and([acc + 0.01 for acc in SGD])).sentences == (
        "optimizer: Adam is ahead of SGD by the same 1.00 points with each of 3 seeds:"
        " there is no spread to make an interval of.",
    )


def test_one_seed_tells_nothing(tmp_path: Path) -> None:
    found = answer(tmp_path, sgd_and([0.96]))
    assert (found.comparisons, found.sentences) == ((), (ONE_SEED,))


def test_one_seed_in_common_tells_nothing(tmp_path: Path) -> None:
    found = answer(tmp_path, {("SGD", 64): [None, 0.95, 0.96], ("Adam", 64): [0.97, 0.98, None]})
    assert found.sentences == ("1 comparison has only one seed in common, too few to tell a difference from chance.",)


def test_one_configuration_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    assert answer(tmp_path, {("SGD", 64): SGD}).sentences == ()


def test_a_factor_that_never_varies_alone_is_named(tmp_path: Path) -> None:
    found = answer(tmp_path, {("SGD", 64): SGD, ("Adam", 128): [0.97, 0.98, 0.97]})
    assert [comparison.factor for comparison in found.comparisons] == ["best configuration"]
    assert found.sentences[-1] == (
        "Never varied alone, with all else and the seed equal, and therefore not compared: hidden, optimizer."
    )


def test_a_level_is_averaged_over_the_other_factors_by_seed(tmp_path: Path) -> None:
    accs = {
        ("SGD", 64): [0.90, 0.91],
        ("SGD", 128): [0.92, 0.95],
        ("Adam", 64): [0.93, 0.92],
        ("Adam", 128): [0.96, 0.98],
    }
    hidden, optimizer, best = answer(tmp_path, accs).comparisons
    assert (hidden.first, hidden.second) == ("128", "64")
    assert hidden.differences == pytest.approx({0: 0.025, 1: 0.05})
    assert optimizer.differences == pytest.approx({0: 0.035, 1: 0.02})
    assert (best.first, best.second) == ("(128, Adam)", "(128, SGD)")
    assert best.differences == pytest.approx({0: 0.04, 1: 0.03})


def test_settings_that_lack_a_seed_are_left_out_for_all_seeds(tmp_path: Path) -> None:
    """With 128 Adam is far ahead, but not with every seed: what is left of it would be a spread that is none."""
    accs: dict[tuple[str, int], list[float | None]] = {
        ("SGD", 64): [0.950, 0.952, 0.951],
        ("Adam", 64): [0.960, 0.964, 0.962],
        ("SGD", 128): [0.90, 0.90, None],
        ("Adam", 128): [0.99, 0.99, 0.99],
    }
    found = answer(tmp_path, accs)
    (of_optimizer,) = [comparison for comparison in found.comparisons if comparison.factor == "optimizer"]
    assert of_optimizer.differences == pytest.approx({0: 0.010, 1: 0.012, 2: 0.011})


def test_where_all_settings_lack_a_seed_the_most_pairs_are_kept(tmp_path: Path) -> None:
    accs: dict[tuple[str, int], list[float | None]] = {}
    for width, lacks in ((32, 3), (64, 3), (128, 0)):
        for optimizer, gain in (("SGD", 0.0), ("Adam", width / 10_000)):
            accs[optimizer, width] = [0.9 + gain + (seed if gain else 0) / 1000 for seed in range(4)]
        accs["SGD", width][lacks] = None
    found = answer(tmp_path, accs)
    (of_optimizer,) = [comparison for comparison in found.comparisons if comparison.factor == "optimizer"]
    assert of_optimizer.differences == pytest.approx({seed: 0.0048 + seed / 1000 for seed in range(3)})


def test_many_sentences_are_capped_at_the_greatest_differences(tmp_path: Path) -> None:
    Sweep(tmp_path).grid(range(3), model__hidden=[[width] for width in range(1, 40)])
    found = Report.of(tmp_path).answer
    assert len(found.comparisons) == 38
    assert len(found.sentences) == MOST_SENTENCES + 2
    assert found.sentences[-2] == "The 18 smallest differences are left out: hidden (18)."
    kept = sorted((comparison.mean for comparison in found.comparisons), reverse=True)[:MOST_SENTENCES]
    told = [float(sentence.split(" points")[0].rpartition(" ")[2]) for sentence in found.sentences[:-2]]
    assert statistics.fmean(told) == pytest.approx(100 * statistics.fmean(kept), abs=0.01)
