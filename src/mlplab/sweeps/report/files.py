"""A report as files: Markdown for people, and CSV in full precision."""

import csv
import io
from collections.abc import Iterable, Sequence

from mlplab.sweeps.report.cells import Columns, Section

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")


def markdown(title: str, sections: Iterable[Section], pictures: Sequence[str]) -> str:
    parts = [f"# {_escaped(title)}"]
    for one in sections:
        if one.heading and (one.columns or one.lines):
            parts.append(f"## {_escaped(one.heading)}")
        parts += content(one)
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n\n".join(parts) + "\n"


def content(section: Section) -> list[str]:
    """Format a section without its heading: its table, its lines, as a list if there are several, and its command."""
    bullet = "- " if section.heading and not section.columns else ""
    lines = "\n".join(f"{bullet}{_escaped(line)}" for line in section.lines)
    command = f"```\n{section.command}\n```" if section.command else ""
    return [part for part in (_table(section.columns), lines, command) if part]


def _table(columns: Columns) -> str:
    shown = [column for column in columns if column.heading]
    sides = ["---" if column.is_setting or column.heading == "rank" else "---:" for column in shown]
    contents = ([column.heading, side, *column.texts()] for column, side in zip(shown, sides, strict=True))
    rows = zip(*contents, strict=True)
    return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows)


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in r"\|*_`<[" else sign for sign in text)


def as_csv(columns: Columns) -> str:
    """Format a table as CSV; an apostrophe precedes text that a spreadsheet would evaluate."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    contents = ([column.name, *map(column.exact, column.values)] for column in columns)
    writer.writerows(map(_inert, row) for row in zip(*contents, strict=True))
    return file.getvalue()


def _inert(cell: object) -> object:
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or cell == "-":
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
