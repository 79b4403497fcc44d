"""What each level of a setting gains or loses against one of them, the reference, with all else equal."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlplab.sweeps.report.comparison import CONFIDENCE, Comparison, by_seed
from mlplab.sweeps.report.settings import REFERENCES, Setting
from mlplab.sweeps.report.table import Column, Configuration, Table


@dataclass(frozen=True)
class Gain:
    """Of a configuration against the one that differs in this column alone, and has the reference there."""

    column: Column
    configuration: Configuration
    val: Comparison  # of validation accuracy; its interval holds for all with the same other settings together
    test: Comparison  # of test accuracy, over the same seeds, likewise


def gains(table: Table) -> list[Gain]:
    """By the other settings, the greatest first; those with two seeds in common or more."""
    return [gain for position in range(len(table.columns)) for gain in _of_column(table, position)]


def reference_of(column: Column) -> str | None:
    return REFERENCES.get(column.key)


def explanation(found: Sequence[Gain]) -> str:
    """Of the figures, as one sentence."""
    column = found[0].column
    together = "" if len(found) == 1 else f" for all of {column.name} together (Bonferroni)"
    return (
        f"Points are hundredths of accuracy above {reference_of(column)}, over pairs of runs with the same seed. With"
        f" the same other settings, the intervals of validation hold{together} with {CONFIDENCE:.0%} confidence, and"
        " so, by themselves, do those of the test: over seeds, not over other images. The test chooses nothing."
    )


def _of_column(table: Table, position: int) -> Iterator[Gain]:
    column = table.columns[position]
    if reference_of(column) is None:
        return
    alike: defaultdict[tuple[Setting, ...], list[Configuration]] = defaultdict(list)
    for configuration in table.validated:  # by falling validation accuracy
        alike[configuration.values[:position] + configuration.values[position + 1 :]].append(configuration)
    for configurations in alike.values():
        plain = [one for one in configurations if one.values[position] == reference_of(column)]
        if not plain:
            continue
        others = [one for one in configurations if one is not plain[0]]
        pairs = [(one, seeds) for one in others if len(seeds := _common(one, plain[0])) > 1]
        for one, seeds in pairs:
            names = column.text(one.values[position]), column.text(plain[0].values[position])
            val, test = (
                Comparison(column.name, *names, {seed: of_one[seed] - of_plain[seed] for seed in seeds}, len(pairs))
                for of_one, of_plain in (
                    (by_seed(one), by_seed(plain[0])),
                    (_test_by_seed(one), _test_by_seed(plain[0])),
                )
            )
            yield Gain(column, one, val, test)


def _common(one: Configuration, other: Configuration) -> list[int]:
    return sorted(by_seed(one).keys() & by_seed(other).keys())


def _test_by_seed(configuration: Configuration) -> dict[int, float]:
    return {run.seed: run.metrics["test/acc"] for run in configuration.runs}
