"""The configurations, ranked by validation accuracy; runs that differ only by seed form one configuration."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
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
class Factor:
    """A setting that varies."""

    key: str
    name: str  # short, but unambiguous

    def text(self, level: Setting, digits: int = 6) -> str:
        return shown(self.key, level, digits)

    def exact(self, level: Setting) -> Setting:
        return level if isinstance(level, float) else self.text(level, digits=17)


@dataclass(frozen=True)
class Configuration:
    values: tuple[Setting, ...]  # a level of each factor
    runs: tuple[Run, ...]  # one per seed

    def accs(self, split: str = "val") -> dict[int, float]:
        """Return the accuracy by seed, of "val" or "test"; empty without validation."""
        key = f"{split}/acc"
        return {run.seed: run.metrics[key] for run in self.runs if key in run.metrics}

    def gains(self, other: Self, split: str = "val") -> dict[int, float]:
        """Return the accuracy minus that of another configuration, by common seed."""
        own, others = self.accs(split), other.accs(split)
        return {seed: own[seed] - others[seed] for seed in sorted(own.keys() & others.keys())}

    @property
    def val_acc(self) -> Spread | None:
        """Mean and deviation of the validation accuracy; None without validation."""
        accs = self.accs()
        return Spread.of([*accs.values()]) if accs else None

    @property
    def test_acc(self) -> Spread:
        return Spread.of([*self.accs("test").values()])

    @property
    def fit_s(self) -> float:
        return statistics.fmean(run.fit_s for run in self.runs)

    @property
    def images_per_s(self) -> float:
        return statistics.fmean(run.images_per_s for run in self.runs)


@dataclass(frozen=True)
class Table:
    factors: tuple[Factor, ...]
    configurations: tuple[Configuration, ...]  # the best first, those without validation last
    notes: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Self:
        factors = varying_factors(runs)
        alike: defaultdict[tuple[Setting, ...], dict[int, Run]] = defaultdict(dict)
        for run in sorted(runs, key=lambda run: run.written):  # of several with the same seed, the newest is kept
            alike[tuple(run.settings.get(factor.key) for factor in factors)][run.seed] = run
        configurations = [
            Configuration(values, tuple(by_seed[seed] for seed in sorted(by_seed))) for values, by_seed in alike.items()
        ]
        configurations.sort(key=_rank)
        return cls(factors, tuple(configurations), tuple(_notes(configurations, len(runs))))

    def text(self, configuration: Configuration) -> str:
        """The levels of the configuration in one line."""
        pairs = zip(self.factors, configuration.values, strict=True)
        return ", ".join(factor.text(level) for factor, level in pairs)

    @property
    def validated(self) -> list[Configuration]:
        return [configuration for configuration in self.configurations if configuration.val_acc is not None]


def varying_factors(runs: Sequence[Run]) -> tuple[Factor, ...]:
    """Return the settings that distinguish the runs, without those determined by another.

    If optimizer.name varies, the learning rate or momentum that comes with each optimizer adds nothing, and neither
    does a setting that belongs to a named set of settings.
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
    return tuple(Factor(key, name if times[name] == 1 else key) for key, name in short.items())


def _follows(key: str, name: str, runs: Sequence[Run]) -> bool:
    values = defaultdict(set)
    for run in runs:
        values[run.settings.get(name)].add(run.settings.get(key))
    return key != name and all(len(of_name) == 1 for of_name in values.values())


def _rank(configuration: Configuration) -> tuple[bool, float, tuple[object, ...]]:
    """Sort by validation accuracy only, so that the test accuracy stays unbiased."""
    spread = configuration.val_acc
    return spread is None, -spread.mean if spread else 0, tuple(map(order, configuration.values))


def _notes(configurations: Sequence[Configuration], number_of_runs: int) -> Iterator[str]:
    counted = [run for configuration in configurations for run in configuration.runs]
    unranked = sum(configuration.val_acc is None for configuration in configurations)
    if unranked:
        yield f"Last and not ranked, without validation: {_count(unranked, 'configuration')}."
    repeated = number_of_runs - len(counted)
    if repeated:
        yield f"Not counted, because a newer run has the same settings and seed: {_count(repeated, 'run')}."
    for package in sorted({package for run in counted for package in run.versions}):
        versions = Counter(run.versions.get(package, "unknown") for run in counted)
        if len(versions) > 1:
            what = "mlplab's code" if package == "code" else package
            yield f"Several versions of {what} are mixed: {_list(versions)}."
    changed = [differences for run in counted if (differences := _earlier(run))]
    if changed:
        found = ", ".join(sorted(set[str]().union(*changed)))
        yield f"{_count(len(changed), 'run')} were begun and finished with different versions: {found}."


def _earlier(run: Run) -> set[str]:
    """Return the versions of a run's earlier processes that differ from those of its last one."""
    noted = (pair for versions in run.earlier_versions for pair in versions.items())
    return {f"{package} {version}" for package, version in noted if run.versions.get(package) != version}


def _list(versions: Counter[str]) -> str:
    return ", ".join(f"{version} ({_count(number, 'run')})" for version, number in sorted(versions.items()))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
