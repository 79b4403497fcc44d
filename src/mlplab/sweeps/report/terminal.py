"""The report on a terminal."""

import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from mlplab.sweeps.report.reference import Gain
from mlplab.sweeps.report.settings import printable
from mlplab.sweeps.report.table import Table
from mlplab.sweeps.report.wording import cells, gain_cells, gain_headings, headings

MOST_ROWS, MOST_LINES = 40, 25
WIDEST = 20  # characters of a setting; longer ones go on in the next line


def show_table(console: Console, table: Table) -> None:
    """The configurations, in their order."""
    rows = [cells(table, place, configuration) for place, configuration in enumerate(table.configurations[:MOST_ROWS])]
    _show(console, headings(table), rows, settings=range(1, len(table.columns) + 1))
    if len(table.configurations) > MOST_ROWS:
        console.print(f"{len(table.configurations) - MOST_ROWS:,} more configurations: report.csv", highlight=False)


def show_gains(console: Console, table: Table, gains: Sequence[Gain]) -> None:
    """What each level of a setting gains against its reference."""
    rows = [gain_cells(table, gain) for gain in gains[:MOST_ROWS]]
    _show(console, gain_headings(table), rows, settings=range(len(table.columns)))
    if len(gains) > MOST_ROWS:
        console.print(f"{len(gains) - MOST_ROWS:,} more: report.md", highlight=False)


def _show(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], settings: range) -> None:
    """As wide as its figures need: where the terminal is narrower, it breaks the lines, and no figure is cut."""
    for gap in (2, 1):
        grid = _grid(headings, rows, settings, gap)
        needed = Measurement.get(console, console.options.update(width=1000), grid).minimum
        if needed <= console.width:
            break
    else:
        grid.width = needed
    console.print(grid, crop=False)


def show_lines(
    console: Console, heading: str, lines: Sequence[str], wrap: bool = True, most: int | None = MOST_LINES
) -> None:
    """A list below a heading, or nothing. `wrap=False` keeps what one wants to copy in one piece."""
    if not lines:
        return
    console.print(f"\n{heading}", highlight=False, style="bold")
    for line in map(printable, lines[:most]):
        text = f"  {line}"
        if wrap:
            text = textwrap.fill(text, console.width, subsequent_indent="    ")
        console.print(Text(text), soft_wrap=True)
    if most is not None and len(lines) > most:
        console.print(f"  {len(lines) - most:,} more: report.md", highlight=False)


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]], settings: range, gap: int) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for position, heading in enumerate(headings):
        is_setting = position in settings
        lines = [heading] if is_setting else heading.split(" ", 1)
        width = max(len(text) for text in (*lines, *(row[position] for row in rows)))
        grid.add_column(
            Text("\n".join(lines)),
            justify="left" if is_setting else "right",
            vertical="top",
            overflow="fold",
            min_width=min(width, WIDEST) if is_setting else width,
            max_width=max(WIDEST, len(heading)) if is_setting else None,
        )
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid
