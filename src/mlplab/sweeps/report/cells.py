"""The tables of a report: their columns, and the format of each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mlplab.sweeps.report.baseline import Difference
from mlplab.sweeps.report.comparison import Comparison
from mlplab.sweeps.report.runs import Run, Unfinished
from mlplab.sweeps.report.settings import Setting
from mlplab.sweeps.report.table import Configuration, Factor, Table

TIMES = ("fit_s", "total_s", "images_per_s")


class Column(NamedTuple):
    heading: str  # in tables for people; "" if only CSV has the column
    values: Sequence[object]  # None for an empty cell
    text: Callable[[Any], str] = str  # of a value, for people
    name: str = ""  # in CSV
    exact: Callable[[Any], object] = lambda value: value  # in full precision, for CSV
    is_setting: bool = False

    def texts(self, most: int | None = None) -> list[str]:
        """Format the first `most` values for people."""
        return ["-" if value is None else self.text(value) for value in self.values[:most]]


Columns = Sequence[Column]


class Section(NamedTuple):
    heading: str
    columns: Columns = ()
    lines: Sequence[str] = ()
    is_to_copy: bool = False  # non-breaking lines
    command: str = ""  # below the lines


def ranking(table: Table) -> Columns:
    """Make a table with a row per configuration, the best first."""
    ranked = table.configurations
    ranks = [rank if one.val_acc else None for rank, one in enumerate(ranked, 1)]
    sd = "sd" if any(len(one.runs) > 1 for one in ranked) else ""
    columns = [Column("rank", ranks, name="rank"), *_settings(table, ranked)]
    for split, spreads in (("val", [one.val_acc for one in ranked]), ("test", [one.test_acc for one in ranked])):
        means, sds = [spread and spread.mean for spread in spreads], [spread and spread.sd for spread in spreads]
        columns.append(Column(f"{split} acc %", means, _percent, f"{split}_acc_mean"))
        columns.append(Column(sd, sds, _percent, f"{split}_acc_sd"))
    return [
        *columns,
        Column("seeds", [len(one.runs) for one in ranked], name="seeds"),
        Column("train s", [one.fit_s for one in ranked], _seconds, "fit_s"),
        Column("images/s", [one.images_per_s for one in ranked], "{:,.0f}".format, "images_per_s"),
    ]


def differences(table: Table, found: Sequence[Difference]) -> Columns:
    """Make a table with a row per configuration that has a baseline: its gain or loss, in points."""
    columns = _settings(table, [one.configuration for one in found])
    for split in ("val", "test"):
        figures = zip(*(_mean_and_ends(getattr(one, split)) for one in found), strict=True)
        names = (f"{split} {what}" for what in ("points", "from", "to"))
        columns += [Column(name, values, _points) for name, values in zip(names, figures, strict=True)]
    return [*columns, Column("seeds", [one.val.seeds for one in found])]


def runs(table: Table, complete: Sequence[Run], unfinished: Sequence[Unfinished]) -> Columns:
    """Make a table with a row per run, whether or not it is counted."""
    counted = {run.name for configuration in table.configurations for run in configuration.runs}
    statuses = ["completed" if run.name in counted else "repeated" for run in complete]
    found: list[Run | Unfinished] = [*complete, *unfinished]
    columns: dict[str, list[object]] = {
        "folder": [run.name for run in found],
        "status": [*statuses, *(run.status for run in unfinished)],
        **{factor.name: [_level(factor, run.settings) for run in found] for factor in table.factors},
        "seed": [run.seed for run in complete],
    }
    for metric in sorted({metric for run in complete for metric in run.metrics}):
        columns[metric] = [run.metrics.get(metric) for run in complete]
    columns["best_epoch"] = [run.best_epoch if "val/acc" in run.metrics else None for run in complete]
    columns |= {time: [getattr(run, time) for run in complete] for time in TIMES}
    columns["reason"] = [None for _ in complete] + [run.reason for run in unfinished]
    return [Column("", [*values, *[None] * (len(found) - len(values))], name=name) for name, values in columns.items()]


def _settings(table: Table, ones: Sequence[Configuration]) -> list[Column]:
    levels = zip(*(one.values for one in ones), strict=True)
    return [
        Column(factor.name, of_factor, factor.text, factor.name, factor.exact, True)
        for factor, of_factor in zip(table.factors, levels, strict=True)
    ]


def _level(factor: Factor, settings: Mapping[str, Setting]) -> Setting:
    return factor.exact(settings[factor.key]) if factor.key in settings else None


def _mean_and_ends(comparison: Comparison) -> tuple[float | None, ...]:
    tells = comparison.has_spread and not comparison.has_too_few_seeds
    return comparison.mean, *(comparison.interval() if tells else (None, None))


def _percent(acc: float) -> str:
    return f"{100 * acc:.2f}"


def _points(difference: float) -> str:
    points = round(100 * difference, 2) + 0.0
    return f"{points:+.2f}" if points else "0.00"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.{1 if seconds < 1000 else 0}f}"
