"""The difference of each level of a setting from its baseline, such as `plain`, with all other settings equal."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlplab.sweeps.report.comparison import CONFIDENCE, Comparison
from mlplab.sweeps.report.settings import REFERENCES, Setting
from mlplab.sweeps.report.table import Configuration, Factor, Table


@dataclass(frozen=True)
class Difference:
    """A configuration compared with the one that differs only in having the baseline of a factor."""

    factor: Factor
    configuration: Configuration
    val: Comparison  # of validation accuracy; its interval holds for all with the same other settings together
    test: Comparison  # of test accuracy, over the same seeds, likewise


def level_of(factor: Factor) -> str | None:
    """Return the level with which the others are compared."""
    return REFERENCES.get(factor.key)


def differences(table: Table) -> Iterator[Difference]:
    """Yield differences with at least two common seeds, by the other settings, the largest first."""
    for position, factor in enumerate(table.factors):
        if level_of(factor) is None:
            continue
        alike: defaultdict[tuple[Setting, ...], list[Configuration]] = defaultdict(list)
        for one in table.validated:  # by decreasing validation accuracy
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
        f" other settings, the validation intervals hold{together} with {CONFIDENCE:.0%} confidence, and separately so"
        " do the test intervals. They cover variation over seeds, not over images. Test accuracy selects nothing."
    )
