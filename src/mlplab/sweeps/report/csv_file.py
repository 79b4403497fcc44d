"""Tables as CSV, in full precision."""

import csv
import io

from mlplab.sweeps.report.cells import Cells

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")


def text(cells: Cells) -> str:
    """A row per line; an apostrophe goes in front of text that a spreadsheet would compute."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_inert(column.name) for column in cells.columns])
    for row in cells.rows:
        writer.writerow([_inert(column.exact(value)) for column, value in zip(cells.columns, row, strict=True)])
    return file.getvalue()


def _inert(cell: object) -> object:
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or cell == "-":
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
