"""How much each key of a space decided, among the draws of a search.

PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255), with bins of equally many draws in place of densities: a key decided
much if the best draws have other values of it than all draws do.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

BEST = 4  # one draw of so many is among the best
BINS = 4  # of a key with many values
RESAMPLED = 200  # sets of draws, for the interval
FEWEST = 20  # draws

Values = Mapping[str, str]


class Importance(NamedTuple):
    """The share of a key in what all keys decided, and the ends of its interval of 95 %."""

    key: str
    share: float
    low: float
    high: float


def importances(draws: Sequence[Values], accuracies: Sequence[float]) -> list[Importance]:
    """By falling share; none for fewer than FEWEST draws. The accuracies are those after equally many epochs."""
    keys = list(dict.fromkeys(key for values in draws for key in values))
    if len(draws) < FEWEST or len(keys) < 2:
        return []
    bins = {key: _bins([values.get(key, "") for values in draws]) for key in keys}
    generator = random.Random(0)
    everyone = range(len(draws))
    shares = _shares(everyone, bins, accuracies)
    resampled = [_shares(generator.choices(everyone, k=len(draws)), bins, accuracies) for _ in range(RESAMPLED)]
    found = []
    for key in keys:
        others = sorted(one[key] for one in resampled)
        found.append(Importance(key, shares[key], others[RESAMPLED // 40], others[-1 - RESAMPLED // 40]))
    return sorted(found, key=lambda one: -one.share)


def _shares(chosen: Sequence[int], bins: Mapping[str, Sequence[int]], accuracies: Sequence[float]) -> dict[str, float]:
    best = sorted(chosen, key=lambda draw: -accuracies[draw])[: len(chosen) // BEST]
    divergences = {key: _divergence([of[i] for i in best], [of[i] for i in chosen]) for key, of in bins.items()}
    total = sum(divergences.values()) or 1.0
    return {key: divergence / total for key, divergence in divergences.items()}


def _divergence(best: Sequence[int], everyone: Sequence[int]) -> float:
    """Pearson's divergence of the best draws from all, each bin with one draw more than it has."""
    among_best, among_all = Counter(best), Counter(everyone)
    number = len(among_all)
    found = 0.0
    for one, count in among_all.items():
        share = (count + 1) / (len(everyone) + number)
        found += share * ((among_best[one] + 1) / (len(best) + number) / share - 1) ** 2
    return found


def _bins(texts: Sequence[str]) -> list[int]:
    """The bin of each value: one for each of few values, else BINS of equally many draws and one for no value."""
    if len(set(texts)) <= BINS:
        names = sorted(set(texts))
        return [names.index(text) for text in texts]
    order = sorted((text for text in texts if text), key=_order)
    place = {text: position * BINS // len(order) for position, text in enumerate(order)}
    return [place.get(text, BINS) for text in texts]


def _order(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
