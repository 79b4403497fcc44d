"""The report as files: CSV in full precision, and Markdown."""

import csv
import io
from collections.abc import Iterable, Sequence

from mlplab.sweeps.report.reference import Gain, explanation, reference_of
from mlplab.sweeps.report.runs import Run, Unfinished
from mlplab.sweeps.report.settings import Setting, shown
from mlplab.sweeps.report.table import Column, Spread, Table
from mlplab.sweeps.report.wording import NO_RUN, about, cells, gain_cells, gain_headings, headings


def configurations_csv(table: Table) -> str:
    """A row a configuration; accuracies are fractions of 1."""
    figures = ("val_acc_mean", "val_acc_sd", "test_acc_mean", "test_acc_sd", "seeds", "fit_s", "images_per_s")
    rows = [
        [
            place if configuration.val_acc else "",
            *_values(table, configuration.values),
            *_mean_and_sd(configuration.val_acc),
            *_mean_and_sd(configuration.test_acc),
            len(configuration.runs),
            configuration.fit_s,
            configuration.images_per_s,
        ]
        for place, configuration in enumerate(table.configurations, 1)
    ]
    return _csv([["rank", *(column.name for column in table.columns), *figures], *rows])


def runs_csv(table: Table, complete: Sequence[Run], unfinished: Sequence[Unfinished]) -> str:
    """A row a run, whether it counts or not."""
    counted = {run.name for configuration in table.configurations for run in configuration.runs}
    metrics = sorted({metric for run in complete for metric in run.metrics})
    keys = [column.key for column in table.columns]
    heading = ["folder", "status", *(column.name for column in table.columns), "seed", *metrics]
    times = ("best_epoch", "fit_s", "total_s", "images_per_s", "reason")
    rows: list[list[object]] = [
        [
            run.name,
            "completed" if run.name in counted else "repeated",
            *_values(table, [run.settings.get(key) for key in keys]),
            run.seed,
            *(run.metrics.get(metric, "") for metric in metrics),
            *(run.best_epoch, run.fit_s, run.total_s, run.images_per_s, ""),
        ]
        for run in complete
    ]
    rows += [
        [
            other.name,
            other.status,
            *(_value(col, other.settings[col.key]) if col.key in other.settings else "" for col in table.columns),
            *[""] * (len(["seed", *metrics, *times]) - 1),
            other.reason,
        ]
        for other in unfinished
    ]
    return _csv([[*heading, *times], *rows])


def markdown(
    title: str,
    table: Table,
    gains: Sequence[Gain],
    sentences: Sequence[str],
    unfinished: Sequence[Unfinished],
    pictures: Sequence[str],
) -> str:
    rows = [cells(table, place, configuration) for place, configuration in enumerate(table.configurations)]
    ranked = _markdown_table(headings(table), rows, words=len(table.columns) + 1)
    parts = [f"# {_escaped(title)}", ranked if rows else NO_RUN, *map(_escaped, table.notes)]
    if gains:
        parts.append(f"## Against {reference_of(gains[0].column)}")
        parts.append(gains_markdown(table, gains))
    for heading, items in (("Differences", sentences), ("Not complete", [about(run) for run in unfinished])):
        if items:
            parts += [f"## {heading}", "\n".join(f"- {_escaped(item)}" for item in items)]
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n\n".join(parts) + "\n"


def gains_markdown(table: Table, gains: Sequence[Gain]) -> str:
    """A row for each, and what the figures mean."""
    rows = [gain_cells(table, gain) for gain in gains]
    return f"{_markdown_table(gain_headings(table), rows, words=len(table.columns))}\n\n{_escaped(explanation(gains))}"


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """The first `words` columns to the left, figures to the right."""
    sides = ["---"] * words + ["---:"] * (len(columns) - words)
    return "\n".join(map(_row, [columns, sides, *rows]))


def _row(texts: Iterable[str]) -> str:
    return f"| {' | '.join(map(_escaped, texts))} |"


def _escaped(text: str) -> str:
    """Of what Markdown would take for a sign of its own."""
    return "".join(f"\\{sign}" if sign in r"\|*_`<[" else sign for sign in text)


def _values(table: Table, values: Sequence[Setting]) -> list[object]:
    return [_value(column, value) for column, value in zip(table.columns, values, strict=True)]


def _value(column: Column, value: Setting) -> object:
    """A float as it is, the rest as in the table."""
    return value if isinstance(value, float) else shown(column.key, value, digits=17)


def _mean_and_sd(spread: Spread | None) -> list[object]:
    return ["", ""] if spread is None else [spread.mean, "" if spread.sd is None else spread.sd]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, in which no text is what a spreadsheet would compute: it gets an apostrophe in front."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_inert(cell) for cell in row] for row in rows)
    return text.getvalue()


def _inert(cell: object) -> object:
    if not isinstance(cell, str) or not cell.startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
    ):
        return cell
    try:
        float(cell)
    except ValueError:
        return cell if cell == "-" else f"'{cell}"  # - stands for nothing
    return cell
