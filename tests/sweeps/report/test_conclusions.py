import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from made_up import OPTIMIZERS, Sweep, config, result
from scipy.stats import t, ttest_rel

from mlplab.sweeps.report import Report
from mlplab.sweeps.report.comparison import Comparison
from mlplab.sweeps.report.conclusions import MOST_SENTENCES, Conclusions

Accs = Mapping[tuple[str, int], Sequence[float | None]]  # a seed each, by optimizer and width; None if it diverged
FOOTER = "1 point is 1 % of validation accuracy; the intervals, over pairs of runs with the same seed, hold with 95%"
SGD = [0.95, 0.96, 0.94]


def conclusions(folder: Path, accs: Accs) -> Conclusions:
    sweep = Sweep(folder)
    for (optimizer, width), of_seeds in accs.items():
        for seed, acc in enumerate(of_seeds):
            if acc is None:
                sweep.add(status={"status": "diverged"})
            else:
                sweep.add(result(config(seed=seed, optimizer=OPTIMIZERS[optimizer], model__hidden=[width]), acc))
    return Report.of(folder).conclusions


def sgd_and(accs: Sequence[float]) -> Accs:
    return {("SGD", 64): SGD[: len(accs)], ("Adam", 64): accs}


def of_optimizers(found: Conclusions) -> Comparison:
    (comparison,) = [comparison for comparison in found.comparisons if comparison.factor == "optimizer"]
    return comparison


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_intervals_match_scipy(seeds: int, tmp_path: Path) -> None:
    adam = [0.97 + 0.001 * (seed * 7 % 5) for seed in range(seeds)]
    sgd = [0.96 + 0.001 * (seed * 3 % 4) for seed in range(seeds)]
    (comparison,) = conclusions(tmp_path, {("SGD", 64): sgd, ("Adam", 64): adam}).comparisons
    test = ttest_rel(adam, sgd)
    for levels, pairs in ((2, 1), (3, 3), (9, 36)):
        oracle = test.confidence_interval(1 - 0.05 / pairs)
        among = Comparison.of("optimizer", "Adam", "SGD", comparison.differences, levels)
        assert among.interval() == pytest.approx((oracle.low, oracle.high), rel=1e-9)


def test_several_comparisons_share_one_confidence(tmp_path: Path) -> None:
    sgd, adam = [0.95, 0.96, 0.94, 0.93], [0.96, 0.97, 0.951, 0.943]
    accs = {("SGD", 64): sgd, ("Adam", 64): adam, ("RMSprop", 64): [0.955, 0.962, 0.95, 0.93]}
    found = conclusions(tmp_path, accs)
    assert len(found.comparisons) == 2
    oracle = ttest_rel(adam, sgd).confidence_interval(1 - 0.05 / 3)
    interval = f"{100 * oracle.low:.2f} to {100 * oracle.high:.2f}"
    assert found.sentences[1] == f"optimizer: Adam is better than SGD by 1.10 points ({interval}, 4 seeds)."
    together = "for all pairs of a factor, or of configurations, together (Bonferroni)"
    assert found.sentences[-1] == f"{FOOTER} confidence {together}."


@pytest.mark.parametrize(
    ("adam", "says"),
    [
        ([0.96, 0.972, 0.951], "Adam is better than SGD by 1.10 points (0.85 to 1.35, 3 seeds)"),
        ([0.96, 0.948, 0.951], "Adam and SGD cannot be told apart: 0.30 points (-2.93 to 3.53, 3 seeds)"),
        ([0.95003, 0.96004, 0.94005], "Adam is better than SGD by 0.004 points (0.002 to 0.006, 3 seeds)"),
        (SGD, "Adam and SGD are equal with each of 3 seeds"),
        ([0.96, 0.97, 0.95], "Adam leads SGD by 1.00 points with each of 3 seeds: without spread, no interval"),
        ([0.96, 0.972], "Adam and SGD are 1.10 points apart: 2 seeds are too few to tell, 3 would do"),
    ],
)
def test_a_sentence_says_how_sure_it_is(adam: Sequence[float], says: str, tmp_path: Path) -> None:
    sentence, *footer = conclusions(tmp_path, sgd_and(adam)).sentences
    assert sentence == f"optimizer: {says}."
    assert footer == ([f"{FOOTER} confidence."] if "(" in says else [])


def test_too_few_seeds_are_said_with_how_many_would_do() -> None:
    """The number is for the same mean and spread; shown with two seeds, or with an impossibly wide interval."""
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


@pytest.mark.parametrize(
    ("accs", "says"),
    [
        (sgd_and([0.96]), "With one seed no difference can be told from chance; "),
        ({("SGD", 64): [None, 0.95, 0.96], ("Adam", 64): [0.97, 0.98, None]}, "1 comparison has only one seed in comm"),
        ({("SGD", 64): SGD}, None),
    ],
)
def test_without_pairs_nothing_is_compared(accs: Accs, says: str | None, tmp_path: Path) -> None:
    found = conclusions(tmp_path, accs)
    assert found.comparisons == ()
    assert [sentence.startswith(says or "") for sentence in found.sentences] == ([True] if says else [])


def test_a_factor_that_never_varies_alone_is_named(tmp_path: Path) -> None:
    found = conclusions(tmp_path, {("SGD", 64): SGD, ("Adam", 128): [0.97, 0.98, 0.97]})
    assert [comparison.factor for comparison in found.comparisons] == ["best configuration"]
    assert found.sentences[-1] == (
        "Not compared, because they never vary alone, with all other settings and the seed equal: hidden, optimizer."
    )


def test_a_level_is_averaged_over_the_other_factors_by_seed(tmp_path: Path) -> None:
    accs = {
        ("SGD", 64): [0.90, 0.91],
        ("SGD", 128): [0.92, 0.95],
        ("Adam", 64): [0.93, 0.92],
        ("Adam", 128): [0.96, 0.98],
    }
    hidden, optimizer, best = conclusions(tmp_path, accs).comparisons
    assert (hidden.first, hidden.second) == ("128", "64")
    assert hidden.differences == pytest.approx({0: 0.025, 1: 0.05})
    assert optimizer.differences == pytest.approx({0: 0.035, 1: 0.02})
    assert (best.first, best.second) == ("(128, Adam)", "(128, SGD)")
    assert best.differences == pytest.approx({0: 0.04, 1: 0.03})


def test_settings_that_lack_a_seed_are_left_out_for_all_seeds(tmp_path: Path) -> None:
    """With 128 units Adam is far ahead, but lacks a seed: the other seeds would show a spurious spread."""
    accs: Accs = {
        ("SGD", 64): [0.950, 0.952, 0.951],
        ("Adam", 64): [0.960, 0.964, 0.962],
        ("SGD", 128): [0.90, 0.90, None],
        ("Adam", 128): [0.99, 0.99, 0.99],
    }
    found = of_optimizers(conclusions(tmp_path, accs))
    assert found.differences == pytest.approx({0: 0.010, 1: 0.012, 2: 0.011})


def test_if_all_settings_lack_a_seed_the_most_pairs_stay(tmp_path: Path) -> None:
    accs: dict[tuple[str, int], list[float | None]] = {}
    for width, lacks in ((32, 3), (64, 3), (128, 0)):
        for optimizer, gain in (("SGD", 0.0), ("Adam", width / 10_000)):
            accs[optimizer, width] = [0.9 + gain + (seed if gain else 0) / 1000 for seed in range(4)]
        accs["SGD", width][lacks] = None
    found = of_optimizers(conclusions(tmp_path, accs))
    assert found.differences == pytest.approx({seed: 0.0048 + seed / 1000 for seed in range(3)})


def test_of_many_sentences_the_greatest_differences_stay(tmp_path: Path) -> None:
    Sweep(tmp_path).grid(range(3), model__hidden=[[width] for width in range(1, 40)])
    found = Report.of(tmp_path).conclusions
    assert len(found.comparisons) == 38
    assert len(found.sentences) == MOST_SENTENCES + 2
    assert found.sentences[-2] == "The 18 smallest differences are left out: hidden (18)."
    kept = sorted((comparison.mean for comparison in found.comparisons), reverse=True)[:MOST_SENTENCES]
    told = [float(sentence.split(" points")[0].rpartition(" ")[2]) for sentence in found.sentences[:-2]]
    assert statistics.fmean(told) == pytest.approx(100 * statistics.fmean(kept), abs=0.01)
