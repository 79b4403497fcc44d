"""A report in a terminal."""

import textwrap

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from mlplab.sweeps.report.cells import Columns, Section
from mlplab.sweeps.report.settings import printable

MOST_ROWS = 40
WIDEST = 20  # characters of a setting before it is wrapped


def show(console: Console, section: Section) -> None:
    if section.heading and (section.columns or section.lines):
        console.print(f"\n{section.heading}", highlight=False, style="bold")
    if section.columns:
        if section.heading:
            console.print()
        _show_table(console, [column for column in section.columns if column.heading])
        if section.lines:
            console.print()
    indent = "  " if section.heading else ""
    for line in section.lines:
        text = f"{indent}{printable(line)}"
        wrapped = text if section.is_to_copy else textwrap.fill(text, console.width, subsequent_indent=2 * indent)
        console.print(Text(wrapped), soft_wrap=True)
    if section.command:
        console.print(Text(f"{indent}{printable(section.command)}"), soft_wrap=True)


def _show_table(console: Console, columns: Columns) -> None:
    """Print a table without truncating numbers: narrow the gaps, then let the terminal wrap long rows."""
    for gap in (2, 1):
        grid = _grid(columns, gap)
        needed = Measurement.get(console, console.options.update(width=1000), grid).minimum
        if needed <= console.width:
            break
    else:
        grid.width = needed
    console.print(grid, crop=False)
    left_out = len(columns[0].values) - MOST_ROWS
    if left_out > 0:
        console.print(f"  {left_out:,} more: report.md", highlight=False)


def _grid(columns: Columns, gap: int) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for column in columns:
        if column.is_setting:
            width = max(map(len, (column.heading, *column.texts(MOST_ROWS))))
            widest = max(WIDEST, len(column.heading))
            grid.add_column(Text(column.heading), overflow="fold", min_width=min(width, WIDEST), max_width=widest)
        else:
            grid.add_column(Text(column.heading.replace(" ", "\n", 1)), justify="right", no_wrap=True)
    for row in zip(*(column.texts(MOST_ROWS) for column in columns), strict=True):
        grid.add_row(*map(Text, row))
    return grid
