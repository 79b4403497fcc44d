"""Tables as CSV, in full precision."""

import csv
import io

from mlplab.sweeps.report.cells import Columns

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")


def text(columns: Columns) -> str:
    """A row per line; an apostrophe goes in front of text that a spreadsheet would compute."""
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
