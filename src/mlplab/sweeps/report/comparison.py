"""The difference in accuracy of two settings, over pairs of runs with the same seed, and its interval."""

import bisect
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

CONFIDENCE = 0.95
FEWEST = 3  # seeds; with two, t has one degree of freedom, and an interval of 95 % is 25 times as wide as the spread
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Comparison:
    """A comparison of two settings; differences are fractions of 1."""

    factor: str
    first: str
    second: str
    differences: Mapping[int, float]  # first less second, by seed
    of_pairs: int  # that this one was chosen from by the data

    @classmethod
    def of(cls, factor: str, one: str, other: str, differences: Mapping[int, float], among: int) -> Self:
        """Compare two out of `among` levels or configurations; the one with the better mean comes first."""
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
        return max(values) - min(values) > 1e-9  # a smaller difference is rounding

    def interval(self) -> tuple[float, float]:
        """Return the confidence interval of the mean difference; the intervals of all `of_pairs` hold together.

        Student (1908), The Probable Error of a Mean: t with n - 1 degrees of freedom, over the differences of pairs.
        Bonferroni's inequality: m intervals that each miss with probability a / m all hold with at least 1 - a (Dunn
        1961, Multiple Comparisons among Means).
        """
        reach = self._reach(self.seeds)
        return self.mean - reach, self.mean + reach

    @property
    def has_too_few_seeds(self) -> bool:
        """True if the sign is uncertain with two seeds, or the interval is wider than possible differences."""
        reach = self._reach(self.seeds)
        return reach >= abs(self.mean) and (self.seeds < FEWEST or abs(self.mean) + reach > 1)

    def seeds_needed(self) -> int:
        """Return the number of seeds with which the interval would exclude 0, for the same mean and spread."""
        return bisect.bisect_left(
            range(MOST_SEEDS), True, self.seeds + 1, key=lambda n: self._reach(n) < abs(self.mean)
        )

    def _reach(self, seeds: int) -> float:
        from scipy.special import stdtrit  # the quantile of t; scipy.stats takes four times as long to import

        tail = (1 - CONFIDENCE) / self.of_pairs / 2
        spread = statistics.stdev(self.differences.values())
        return -float(stdtrit(seeds - 1, tail)) * spread / math.sqrt(seeds)

    def sentence(self) -> str:
        return f"{self.factor}: {self._verdict()}."

    def _verdict(self) -> str:
        first, second, points, seeds = self.first, self.second, 100 * self.mean, f"{self.seeds} seeds"
        if not self.has_spread and points < 1e-7:
            return f"{first} and {second} are equal with each of {seeds}"
        if not self.has_spread:
            return f"{first} leads {second} by {points:.2f} points with each of {seeds}: without spread, no interval"
        low, high = (100 * end for end in self.interval())
        digits = next((digits for digits in (2, 3, 4) if round(low, digits)), 4)  # an end shown as 0 would be ambiguous
        figures = f"{_fixed(points, digits)} points ({_fixed(low, digits)} to {_fixed(high, digits)}, {seeds})"
        if low > 0:
            return f"{first} is better than {second} by {figures}"
        if self.has_too_few_seeds:
            needed = self.seeds_needed()
            enough = f"{needed}" if needed < MOST_SEEDS else f"not even {MOST_SEEDS:,}"
            apart = f"{first} and {second} are {_fixed(points, digits)} points apart"
            return f"{apart}: {seeds} are too few to tell, {enough} would do"
        return f"{first} and {second} cannot be told apart: {figures}"


def _fixed(number: float, digits: int) -> str:
    return f"{round(number, digits) + 0.0:.{digits}f}"  # -0.0 + 0.0 is 0.0
