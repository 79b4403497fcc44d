"""The tables of a report as rows of plain values, and how each column is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlplab.sweeps.report.baseline import Difference
from mlplab.sweeps.report.comparison import Comparison
from mlplab.sweeps.report.runs import Run, Unfinished
from mlplab.sweeps.report.settings import Setting
from mlplab.sweeps.report.table import Configuration, Spread, Table


def _plain(value: object) -> object:
    return "" if value is None else value


def _points(difference: float) -> str:
    points = round(100 * difference, 2) + 0.0
    return f"{points:+.2f}" if points else "0.00"


class Column(NamedTuple):
    heading: str  # in tables for people; "" if only CSV has the column
    text: Callable[[Any], str] = str  # of a value other than None, for people
    name: str = ""  # in CSV
    exact: Callable[[Any], object] = _plain  # a value in full precision, for CSV
    is_setting: bool = False


@dataclass(frozen=True)
class Cells:
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]

    @property
    def shown(self) -> list[Column]:
        return [column for column in self.columns if column.heading]

    def texts(self, most: int | None = None) -> list[list[str]]:
        """The first `most` rows of the columns that have a heading, as text for people."""
        pairs = (zip(self.columns, row, strict=True) for row in self.rows[:most])
        return [[_text(column, value) for column, value in row if column.heading] for row in pairs]


class Section(NamedTuple):
    heading: str
    cells: Cells | None = None
    lines: Sequence[str] = ()
    is_to_copy: bool = False  # the lines: all of them, and none broken in two


def ranking(table: Table) -> Cells:
    """A row per configuration, the best first."""
    percent, has_spread = "{:.2f}".format, any(len(one.runs) > 1 for one in table.configurations)
    accuracies = [
        Column(heading, lambda value: percent(100 * value), f"{split}_acc_{figure}")
        for split in ("val", "test")
        for heading, figure in ((f"{split} acc %", "mean"), ("sd" if has_spread else "", "sd"))
    ]
    others = [
        Column("seeds", str, "seeds"),
        Column("train s", lambda value: f"{value:,.{1 if value < 1000 else 0}f}", "fit_s"),
        Column("images/s", "{:,.0f}".format, "images_per_s"),
    ]
    rows = [_ranked(rank, configuration) for rank, configuration in enumerate(table.configurations, 1)]
    return Cells([Column("rank", str, "rank"), *_settings(table), *accuracies, *others], rows)


def differences(table: Table, found: Sequence[Difference]) -> Cells:
    """A row per configuration that has a baseline: what it gains or loses, in points."""
    points = [Column(f"{split} {what}", _points) for split in ("val", "test") for what in ("points", "from", "to")]
    rows = [
        [*one.configuration.values, *_mean_and_ends(one.val), *_mean_and_ends(one.test), one.val.seeds] for one in found
    ]
    return Cells([*_settings(table), *points, Column("seeds")], rows)


def runs(table: Table, complete: Sequence[Run], unfinished: Sequence[Unfinished]) -> Cells:
    """A row per run, whether it counts or not."""
    counted = {run.name for configuration in table.configurations for run in configuration.runs}
    metrics = sorted({metric for run in complete for metric in run.metrics})
    times = ("best_epoch", "fit_s", "total_s", "images_per_s")
    rows: list[list[object]] = []
    for run in complete:
        status = "completed" if run.name in counted else "repeated"
        figures = [run.seed, *map(run.metrics.get, metrics), *(getattr(run, time) for time in times)]
        rows.append([run.name, status, *_levels(table, run.settings), *figures, None])
    for other in unfinished:
        nothing = [None] * (1 + len(metrics) + len(times))
        rows.append([other.name, other.status, *_levels(table, other.settings), *nothing, other.reason])
    settings = [factor.name for factor in table.factors]
    names = ("folder", "status", *settings, "seed", *metrics, *times, "reason")
    return Cells([Column("", name=name) for name in names], rows)


def _levels(table: Table, settings: Mapping[str, Setting]) -> list[Setting]:
    return [factor.exact(settings[factor.key]) if factor.key in settings else None for factor in table.factors]


def _settings(table: Table) -> list[Column]:
    return [Column(factor.name, factor.text, factor.name, factor.exact, True) for factor in table.factors]


def _text(column: Column, value: object) -> str:
    return "-" if value is None else column.text(value)


def _ranked(rank: int, one: Configuration) -> list[object]:
    accuracies = (*_mean_and_sd(one.val_acc), *_mean_and_sd(one.test_acc))
    return [rank if one.val_acc else None, *one.values, *accuracies, len(one.runs), one.fit_s, one.images_per_s]


def _mean_and_sd(spread: Spread | None) -> tuple[float | None, float | None]:
    return (spread.mean, spread.sd) if spread else (None, None)


def _mean_and_ends(comparison: Comparison) -> tuple[float | None, ...]:
    tells = comparison.has_spread and not comparison.has_too_few_seeds
    return comparison.mean, *(comparison.interval() if tells else (None, None))
