"""Which differences in validation accuracy are beyond the spread of the seeds."""

import bisect
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Self, TypeAlias

from mlplab.sweeps.report.settings import REFERENCES, Setting, order
from mlplab.sweeps.report.table import Column, Configuration, Table

CONFIDENCE = 0.95
MOST_SENTENCES = 20
FEWEST = 3  # seeds; with two, t has one degree of freedom, and an interval of 95 % is 25 times as wide as the spread
MOST_SEEDS = 1000
ONE_SEED = (
    "With one seed no difference can be told from chance; train each configuration with several, for example with"
    " 'seed=range(0,5)'."
)

Pairing: TypeAlias = tuple[tuple[Setting, ...], int]  # what both runs of a pair have in common: settings and seed
Levels: TypeAlias = dict[Setting, dict[Pairing, float]]  # validation accuracy by level of a factor


@dataclass(frozen=True)
class Comparison:
    """One against another; differences are fractions of 1."""

    factor: str
    first: str
    second: str
    differences: Mapping[int, float]  # first less second, by seed
    of_pairs: int  # that could have been the one: the data have chosen it

    @classmethod
    def of(cls, factor: str, one: str, other: str, differences: Mapping[int, float], among: int) -> Self:
        """One of `among` levels or configurations against another; the first is the one with the better mean."""
        pairs = math.comb(among, 2)
        if statistics.fmean(differences.values()) >= 0:
            return cls(factor, one, other, differences, pairs)
        return cls(factor, other, one, {seed: -difference for seed, difference in differences.items()}, pairs)

    @property
    def seeds(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences.values())

    @property
    def has_spread(self) -> bool:
        values = self.differences.values()
        return max(values) - min(values) > 1e-9  # less is rounding

    def interval(self) -> tuple[float, float]:
        """Of the mean difference, such that those of all pairs it was chosen from hold together.

        Student (1908), The Probable Error of a Mean: t with n - 1 degrees of freedom, over the differences of pairs.
        Bonferroni's inequality: m intervals that each miss with probability a / m all hold with at least 1 - a (Dunn
        1961, Multiple Comparisons among Means).
        """
        reach = self._reach(self.seeds)
        return self.mean - reach, self.mean + reach

    @property
    def has_too_few_seeds(self) -> bool:
        """Do they leave it open which is better, being two, or with an interval wider than differences can be?"""
        reach = self._reach(self.seeds)
        return reach >= abs(self.mean) and (self.seeds < FEWEST or abs(self.mean) + reach > 1)

    def seeds_needed(self) -> int:
        """With how many the interval would leave 0 out, if mean and spread stayed as they are; at most MOST_SEEDS."""
        return bisect.bisect_left(
            range(MOST_SEEDS), True, self.seeds + 1, key=lambda n: self._reach(n) < abs(self.mean)
        )

    def _reach(self, seeds: int) -> float:
        from scipy.special import stdtrit  # the quantile of t; scipy.stats takes four times as long to import

        tail = (1 - CONFIDENCE) / self.of_pairs / 2
        spread = statistics.stdev(self.differences.values())
        return -float(stdtrit(seeds - 1, tail)) * spread / math.sqrt(seeds)

    def sentence(self) -> str:
        points, seeds = 100 * self.mean, f"{self.seeds} seeds"
        if not self.has_spread:
            if points < 1e-7:
                return f"{self.factor}: {self.first} and {self.second} are equal with each of {seeds}."
            return (
                f"{self.factor}: {self.first} is ahead of {self.second} by the same {points:.2f} points with each of"
                f" {seeds}: there is no spread to make an interval of."
            )
        low, high = (100 * end for end in self.interval())
        digits = next((digits for digits in (2, 3, 4) if round(low, digits)), 4)  # an end at 0 would say nothing
        figures = f"{_fixed(points, digits)} points ({_fixed(low, digits)} to {_fixed(high, digits)}, {seeds})"
        if low > 0:
            return f"{self.factor}: {self.first} is better than {self.second} by {figures}."
        if self.has_too_few_seeds:
            needed = self.seeds_needed()
            enough = f"{needed}" if needed < MOST_SEEDS else f"not even {MOST_SEEDS:,}"
            apart = f"{self.first} and {self.second} are {_fixed(points, digits)} points apart"
            return f"{self.factor}: {apart}: {seeds} are too few to tell, {enough} would do."
        return f"{self.factor}: {self.first} and {self.second} cannot be told apart: {figures}."


@dataclass(frozen=True)
class Answer:
    comparisons: tuple[Comparison, ...]
    sentences: tuple[str, ...]

    @classmethod
    def of(cls, table: Table) -> Self:
        """Each level of a factor against the best of that factor, and the best configuration against the second."""
        configurations = table.validated
        if len(configurations) < 2:
            return cls((), ())
        if len({run.seed for configuration in configurations for run in configuration.runs}) == 1:
            return cls((), (ONE_SEED,))
        found, alone = [], []
        for position, column in enumerate(table.columns):
            levels = _levels(configurations, position)
            if REFERENCES.get(column.key) in levels:  # with which each of them is compared, see reference.py
                continue
            of_column = list(_against_best(column, levels))
            found += of_column
            if len(levels) > 1 and not of_column:
                alone.append(column.name)
        if len(table.columns) > 1:  # with one it is a difference of levels
            found += _best_against_second(table, configurations)
        told = tuple(comparison for comparison in found if comparison.seeds > 1)
        return cls(told, (*_sentences(told), *_untold(alone, len(found) - len(told))))


def _levels(configurations: list[Configuration], position: int) -> Levels:
    levels: Levels = defaultdict(dict)
    for configuration in configurations:
        values = configuration.values
        others = values[:position] + values[position + 1 :]
        for seed, acc in by_seed(configuration).items():
            levels[values[position]][others, seed] = acc
    return levels


def _against_best(column: Column, levels: Levels) -> Iterator[Comparison]:
    means = _fair_means(levels)
    if len(means) < 2:
        return
    best = max(means, key=means.__getitem__)
    for level in sorted((level for level in levels if level != best), key=order):
        by_seed: defaultdict[int, list[float]] = defaultdict(list)
        for others, seed in _balanced(levels[best].keys() & levels[level].keys()):
            by_seed[seed].append(levels[best][others, seed] - levels[level][others, seed])
        if by_seed:
            # Pairs with one seed share their luck: the seeds are independent, not the pairs.
            differences = {seed: statistics.fmean(by_seed[seed]) for seed in sorted(by_seed)}
            yield Comparison.of(column.name, column.text(best), column.text(level), differences, len(levels))


def _balanced(pairings: Set[Pairing]) -> set[Pairing]:
    """Those of the same settings for each seed: means over others would differ by their settings, not by chance.

    A run that diverged takes its settings out for all seeds; where each settings lack a seed, as few pairs as can be.
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
    """Over what all levels were tried with; if there is nothing, over what two or more were."""
    tried = Counter(pairing for pairings in levels.values() for pairing in pairings)
    fair = {pairing for pairing, times in tried.items() if times == len(levels)}
    fair = fair or {pairing for pairing, times in tried.items() if times > 1}
    return {
        level: statistics.fmean(acc for pairing, acc in pairings.items() if pairing in fair)
        for level, pairings in levels.items()
        if fair & pairings.keys()
    }


def _best_against_second(table: Table, configurations: list[Configuration]) -> Iterator[Comparison]:
    best, second = configurations[:2]
    first_acc, second_acc = by_seed(best), by_seed(second)
    differences = {seed: first_acc[seed] - second_acc[seed] for seed in sorted(first_acc.keys() & second_acc.keys())}
    if differences:
        yield Comparison.of(
            "best configuration", f"({table.text(best)})", f"({table.text(second)})", differences, len(configurations)
        )


def by_seed(configuration: Configuration) -> dict[int, float]:
    """Validation accuracy of each run."""
    return {run.seed: run.val_acc for run in configuration.runs if run.val_acc is not None}


def _sentences(told: tuple[Comparison, ...]) -> Iterator[str]:
    kept = sorted(told, key=lambda comparison: comparison.mean, reverse=True)[:MOST_SENTENCES]
    yield from (comparison.sentence() for comparison in told if comparison in kept)
    left_out = Counter(comparison.factor for comparison in told if comparison not in kept)
    if left_out:
        by_factor = ", ".join(f"{factor} ({number})" for factor, number in left_out.items())
        yield f"The {left_out.total()} smallest differences are left out: {by_factor}."
    if any(comparison.has_spread and not comparison.has_too_few_seeds for comparison in told):
        together = " for all pairs of a factor, or of configurations, together (Bonferroni)"
        yield (
            "Points are hundredths of validation accuracy; the intervals, over pairs of runs with the same seed, hold"
            f" with {CONFIDENCE:.0%} confidence{together if any(one.of_pairs > 1 for one in told) else ''}."
        )


def _untold(alone: list[str], with_one_seed: int) -> Iterator[str]:
    if alone:
        yield f"Never varied alone, with all else and the seed equal, and therefore not compared: {', '.join(alone)}."
    if with_one_seed:
        what = "1 comparison has" if with_one_seed == 1 else f"{with_one_seed} comparisons have"
        yield f"{what} only one seed in common, too few to tell a difference from chance."


def _fixed(number: float, digits: int) -> str:
    """Without a minus before a zero."""
    return f"{round(number, digits) + 0.0:.{digits}f}"
