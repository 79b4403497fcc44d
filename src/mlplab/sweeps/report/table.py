"""The configurations, ranked by validation accuracy: runs that differ only by seed are one."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from mlplab.sweeps.report.runs import Run
from mlplab.sweeps.report.settings import REFERENCES, Setting, order, shown


@dataclass(frozen=True)
class Spread:
    mean: float
    sd: float | None  # of a sample; None for one value
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, len(values))


@dataclass(frozen=True)
class Column:
    """A setting that varies."""

    key: str
    name: str  # as short as it is clear

    def text(self, value: Setting) -> str:
        return shown(self.key, value)


@dataclass(frozen=True)
class Configuration:
    values: tuple[Setting, ...]  # of the columns
    runs: tuple[Run, ...]  # one a seed
    val_acc: Spread | None  # None without validation
    test_acc: Spread
    fit_s: float  # mean
    images_per_s: float  # mean

    @classmethod
    def of(cls, values: tuple[Setting, ...], runs: Iterable[Run]) -> Self:
        runs = tuple(sorted(runs, key=lambda run: run.seed))
        validated = [run.val_acc for run in runs if run.val_acc is not None]
        return cls(
            values,
            runs,
            Spread.of(validated) if validated else None,
            Spread.of([run.metrics["test/acc"] for run in runs]),
            statistics.fmean(run.fit_s for run in runs),
            statistics.fmean(run.images_per_s for run in runs),
        )


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    configurations: tuple[Configuration, ...]  # the best first, those without validation last
    notes: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Self:
        columns = varying_columns(runs)
        alike: defaultdict[tuple[Setting, ...], dict[int, Run]] = defaultdict(dict)
        for run in sorted(runs, key=lambda run: run.written):  # the newest of two with the same seed is left
            alike[tuple(run.settings.get(column.key) for column in columns)][run.seed] = run
        configurations = [Configuration.of(values, by_seed.values()) for values, by_seed in alike.items()]
        configurations.sort(key=_rank)
        counted = [run for configuration in configurations for run in configuration.runs]
        return cls(columns, tuple(configurations), tuple(_notes(configurations, counted, len(runs))))

    def text(self, configuration: Configuration) -> str:
        """Its values in one line."""
        pairs = zip(self.columns, configuration.values, strict=True)
        return ", ".join(column.text(value) for column, value in pairs)

    @property
    def validated(self) -> list[Configuration]:
        return [configuration for configuration in self.configurations if configuration.val_acc is not None]


def varying_columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    """The settings that tell the runs apart, without those that only follow the name of their section.

    Where optimizer.name varies, the rate or the momentum that comes with each optimizer tells nothing new. Nor does
    what a name for several settings stands for.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    varying = [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]
    varying = [
        key
        for key in varying
        if not any(_follows(key, name, runs) for name in (f"{key.partition('.')[0]}.name", *REFERENCES))
    ]
    short = {key: key.removesuffix(".name").rpartition(".")[2] for key in varying}
    times = Counter(short.values())
    return tuple(Column(key, name if times[name] == 1 else key) for key, name in short.items())


def _follows(key: str, name: str, runs: Sequence[Run]) -> bool:
    if key == name:
        return False
    values = defaultdict(set)
    for run in runs:
        values[run.settings.get(name)].add(run.settings.get(key))
    return all(len(of_name) == 1 for of_name in values.values())


def _rank(configuration: Configuration) -> tuple[bool, float, tuple[object, ...]]:
    """By the validation images alone: who chooses by the test images has none left to test with."""
    spread = configuration.val_acc
    return spread is None, -spread.mean if spread else 0, tuple(map(order, configuration.values))


def _notes(configurations: Sequence[Configuration], counted: Sequence[Run], number_of_runs: int) -> Iterable[str]:
    unranked = sum(configuration.val_acc is None for configuration in configurations)
    if unranked:
        yield f"Without validation, and therefore last and not ranked: {_count(unranked, 'configuration')}."
    repeated = number_of_runs - len(counted)
    if repeated:
        yield f"{_count(repeated, 'run')} had been repeated with the same seed: of each the newest counts."
    for package in sorted({package for run in counted for package in run.versions}):
        versions = Counter(run.versions.get(package, "unknown") for run in counted)
        if len(versions) > 1:
            found = ", ".join(f"{version} ({_count(number, 'run')})" for version, number in sorted(versions.items()))
            what = "mlplab's code" if package == "code" else package
            yield f"Results of several versions of {what} are mixed: {found}."
    begun = [differences for run in counted if (differences := _earlier(run))]
    if begun:
        found = ", ".join(sorted(set[str]().union(*begun)))
        yield f"{_count(len(begun), 'run')} had been begun otherwise than they ended: {found}."


def _earlier(run: Run) -> set[str]:
    """What its earlier processes had that its last one had not."""
    noted = (pair for versions in run.earlier_versions for pair in versions.items())
    return {f"{package} {version}" for package, version in noted if run.versions.get(package) != version}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
