"""Sentences about differences in validation accuracy that exceed the spread over seeds."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Self, TypeAlias

from mlplab.sweeps.report.comparison import CONFIDENCE, Comparison
from mlplab.sweeps.report.settings import REFERENCES, Setting, order
from mlplab.sweeps.report.table import Configuration, Factor, Table

MOST_SENTENCES = 20
ONE_SEED = (
    "With one seed no difference can be told from chance; train each configuration with several, for example with"
    " 'seed=range(0,5)'."
)

Pairing: TypeAlias = tuple[tuple[Setting, ...], int]  # the settings and the seed that the runs of a pair share
Levels: TypeAlias = dict[Setting, dict[Pairing, float]]  # validation accuracy by level of a factor


@dataclass(frozen=True)
class Conclusions:
    comparisons: tuple[Comparison, ...]
    sentences: tuple[str, ...]

    @classmethod
    def of(cls, table: Table) -> Self:
        """Compare each level of a factor with the best of that factor, and the best configuration with the second."""
        configurations = table.validated
        if len(configurations) < 2:
            return cls((), ())
        if len({run.seed for configuration in configurations for run in configuration.runs}) == 1:
            return cls((), (ONE_SEED,))
        found, alone = [], []
        for position, factor in enumerate(table.factors):
            levels = _levels(configurations, position)
            if REFERENCES.get(factor.key) in levels:  # baseline.py compares these
                continue
            of_factor = list(_against_best(factor, levels))
            found += of_factor
            if len(levels) > 1 and not of_factor:
                alone.append(factor.name)
        if len(table.factors) > 1:  # with one factor, this is a difference of levels
            found += _best_against_second(table, configurations)
        told = tuple(comparison for comparison in found if comparison.seeds > 1)
        return cls(told, (*_sentences(told), *_untold(alone, len(found) - len(told))))


def _levels(configurations: Sequence[Configuration], position: int) -> Levels:
    levels: Levels = defaultdict(dict)
    for configuration in configurations:
        values = configuration.values
        others = values[:position] + values[position + 1 :]
        for seed, acc in configuration.accs().items():
            levels[values[position]][others, seed] = acc
    return levels


def _against_best(factor: Factor, levels: Levels) -> Iterator[Comparison]:
    means = _fair_means(levels)
    if len(means) < 2:
        return
    best = max(means, key=means.__getitem__)
    for level in sorted((level for level in levels if level != best), key=order):
        by_seed: defaultdict[int, list[float]] = defaultdict(list)
        for others, seed in _balanced(levels[best].keys() & levels[level].keys()):
            by_seed[seed].append(levels[best][others, seed] - levels[level][others, seed])
        if by_seed:
            # Pairs with the same seed are correlated: seeds are independent, pairs are not.
            differences = {seed: statistics.fmean(by_seed[seed]) for seed in sorted(by_seed)}
            yield Comparison.of(factor.name, factor.text(best), factor.text(level), differences, len(levels))


def _balanced(pairings: Set[Pairing]) -> set[Pairing]:
    """Keep the same settings for each seed: otherwise means would differ by settings, not by chance.

    A diverged run removes its settings for all seeds. If every setting lacks a seed, as many pairs as possible remain.
    """
    seeds_of: defaultdict[tuple[Setting, ...], set[int]] = defaultdict(set)
    for others, seed in pairings:
        seeds_of[others].add(seed)
    every = {seed for _, seed in pairings}

    def worth(seeds: Set[int]) -> tuple[bool, bool, int, list[int]]:
        pairs = len(seeds) * sum(seeds <= of_others for of_others in seeds_of.values())
        return seeds == every, len(seeds) > 1, pairs, sorted(seeds)

    kept = max({frozenset(seeds) for seeds in seeds_of.values()}, key=worth, default=frozenset())
    return {(others, seed) for others, seeds in seeds_of.items() if kept <= seeds for seed in kept}


def _fair_means(levels: Levels) -> dict[Setting, float]:
    """Average over the pairings tried with all levels; if there are none, over those tried with two or more."""
    tried = Counter(pairing for pairings in levels.values() for pairing in pairings)
    fair = {pairing for pairing, times in tried.items() if times == len(levels)}
    fair = fair or {pairing for pairing, times in tried.items() if times > 1}
    return {
        level: statistics.fmean(acc for pairing, acc in pairings.items() if pairing in fair)
        for level, pairings in levels.items()
        if fair & pairings.keys()
    }


def _best_against_second(table: Table, configurations: Sequence[Configuration]) -> Iterator[Comparison]:
    best, second = configurations[:2]
    if differences := best.gains(second):
        names = f"({table.text(best)})", f"({table.text(second)})"
        yield Comparison.of("best configuration", *names, differences, len(configurations))


def _sentences(told: Sequence[Comparison]) -> Iterator[str]:
    kept = sorted(told, key=lambda comparison: comparison.mean, reverse=True)[:MOST_SENTENCES]
    yield from (comparison.sentence() for comparison in told if comparison in kept)
    left_out = Counter(comparison.factor for comparison in told if comparison not in kept)
    if left_out:
        by_factor = ", ".join(f"{factor} ({number})" for factor, number in left_out.items())
        yield f"The {left_out.total()} smallest differences are left out: {by_factor}."
    if any(comparison.has_spread and not comparison.has_too_few_seeds for comparison in told):
        together = " for all pairs of a factor, or of configurations, together (Bonferroni)"
        yield (
            "1 point is 1 % of validation accuracy; the intervals, over pairs of runs with the same seed, hold with"
            f" {CONFIDENCE:.0%} confidence{together if any(one.of_pairs > 1 for one in told) else ''}."
        )


def _untold(alone: Sequence[str], with_one_seed: int) -> Iterator[str]:
    if alone:
        never = "Not compared, because they never vary alone, with all other settings and the seed equal"
        yield f"{never}: {', '.join(alone)}."
    if with_one_seed:
        share = "1 comparison has" if with_one_seed == 1 else f"{with_one_seed} comparisons have"
        yield f"{share} only one seed in common, too few to tell differences from chance."
