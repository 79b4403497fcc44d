"""Headings and cells of the tables, and lines about runs, as text for people: on the terminal and in Markdown."""

from mlplab.runs import folder as run_folder
from mlplab.runs.result import outcome
from mlplab.sweeps.report.comparison import Comparison
from mlplab.sweeps.report.reference import Gain
from mlplab.sweeps.report.runs import Unfinished
from mlplab.sweeps.report.settings import printable
from mlplab.sweeps.report.table import Configuration, Spread, Table

NO_RUN = "No run is complete."


def headings(table: Table) -> list[str]:
    sd = ["sd"] if has_spread(table) else []
    names = [column.name for column in table.columns]
    return ["rank", *names, "val acc %", *sd, "test acc %", *sd, "seeds", "train s", "images/s"]


def cells(table: Table, place: int, configuration: Configuration) -> list[str]:
    """`place` counts from 0."""
    values = [column.text(value) for column, value in zip(table.columns, configuration.values, strict=True)]
    return [
        str(place + 1) if configuration.val_acc else "-",
        *values,
        *_percent(configuration.val_acc, has_spread(table)),
        *_percent(configuration.test_acc, has_spread(table)),
        str(len(configuration.runs)),
        f"{configuration.fit_s:,.1f}" if configuration.fit_s < 1000 else f"{configuration.fit_s:,.0f}",
        f"{configuration.images_per_s:,.0f}",
    ]


def gain_headings(table: Table) -> list[str]:
    figures = (f"{split} {what}" for split in ("val", "test") for what in ("points", "from", "to"))
    return [*(column.name for column in table.columns), *figures, "seeds"]


def gain_cells(table: Table, gain: Gain) -> list[str]:
    pairs = zip(table.columns, gain.configuration.values, strict=True)
    return [
        *(column.text(value) for column, value in pairs),
        *_mean_and_interval(gain.val),
        *_mean_and_interval(gain.test),
        str(gain.val.seeds),
    ]


def has_spread(table: Table) -> bool:
    return any(len(configuration.runs) > 1 for configuration in table.configurations)


def about(run: Unfinished) -> str:
    log = printable(run_folder.short(run.log)) if run.log else "no log"
    return f"{run.name}: {outcome(run.status, run.reason)} ({log})"


def _mean_and_interval(comparison: Comparison) -> list[str]:
    ends = comparison.interval() if comparison.has_spread and not comparison.has_too_few_seeds else None
    return [_points(comparison.mean), *("--" if ends is None else map(_points, ends))]


def _points(difference: float) -> str:
    """With its sign, but for a zero."""
    points = round(100 * difference, 2) + 0.0
    return f"{points:+.2f}" if points else "0.00"


def _percent(spread: Spread | None, with_sd: bool) -> list[str]:
    mean = "-" if spread is None else f"{100 * spread.mean:.2f}"
    sd = "-" if spread is None or spread.sd is None else f"{100 * spread.sd:.2f}"
    return [mean, sd] if with_sd else [mean]
