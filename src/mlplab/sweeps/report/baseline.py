"""The difference of each level of a setting from its baseline, such as `plain`, with all else equal."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlplab.sweeps.report.comparison import CONFIDENCE, Comparison
from mlplab.sweeps.report.settings import REFERENCES, Setting
from mlplab.sweeps.report.table import Configuration, Factor, Table


@dataclass(frozen=True)
class Difference:
    """A configuration against the one that differs in this factor alone, and has its baseline."""

    factor: Factor
    configuration: Configuration
    val: Comparison  # of validation accuracy; its interval holds for all with the same other settings together
    test: Comparison  # of test accuracy, over the same seeds, likewise


def level_of(factor: Factor) -> str | None:
    """Return the level that the others are compared with."""
    return REFERENCES.get(factor.key)


def differences(table: Table) -> Iterator[Difference]:
    """Yield those with two or more seeds in common, by the other settings, the greatest first."""
    for position, factor in enumerate(table.factors):
        if level_of(factor) is None:
            continue
        alike: defaultdict[tuple[Setting, ...], list[Configuration]] = defaultdict(list)
        for one in table.validated:  # by falling validation accuracy
            alike[one.values[:position] + one.values[position + 1 :]].append(one)
        for configurations in alike.values():
            yield from _from_baseline(factor, position, configurations)


def _from_baseline(factor: Factor, position: int, configurations: Sequence[Configuration]) -> Iterator[Difference]:
    plain = next((one for one in configurations if one.values[position] == level_of(factor)), None)
    if plain is None:
        return
    gains = [(one, one.gains(plain)) for one in configurations if one is not plain]
    compared = [(one, val) for one, val in gains if len(val) > 1]
    for one, val in compared:
        names = factor.name, factor.text(one.values[position]), factor.text(plain.values[position])
        test = one.gains(plain, "test")
        of_test = Comparison(*names, {seed: test[seed] for seed in val}, len(compared))
        yield Difference(factor, one, Comparison(*names, val, len(compared)), of_test)


def explanation(found: Sequence[Difference]) -> str:
    factor = found[0].factor
    together = "" if len(found) == 1 else f" for all of {factor.name} together (Bonferroni)"
    return (
        f"1 point is 1 % of accuracy above {level_of(factor)}, over pairs of runs with the same seed. With the same"
        f" other settings, the intervals of validation hold{together} with {CONFIDENCE:.0%} confidence, and so, by"
        " themselves, do those of the test: over seeds, not over other images. The test chooses nothing."
    )
