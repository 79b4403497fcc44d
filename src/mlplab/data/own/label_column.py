"""Finds the column of labels of a table from a sample of its rows."""

import re
from collections.abc import Sequence
from pathlib import Path

from mlplab.errors import DataError


def is_number(field: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d*)?(e[+-]?\d+)?", field, re.IGNORECASE) is not None


def likeliest(path: Path, rows: Sequence[Sequence[str]], spread: Sequence[Sequence[str]]) -> int:
    """Return 0 or -1, the column of the labels, judged by the first rows and some from the whole file.

    Raises:
        DataError: unless one of the two has names, or looks like labels and the other like pixels.
    """
    if not rows:
        return 0  # to be refused once it is read
    images = len({tuple(row) for row in (*rows, *spread)})  # a small table is in both
    first, last = (_Column([row[at] for row in rows], [row[at] for row in spread or rows], images) for at in (0, -1))
    found = [at for at, one in ((0, first), (-1, last)) if one.are_names] or [
        at for at, one, other in ((0, first, last), (-1, last, first)) if one.is_like_labels and other.is_pixel
    ]
    if len(found) != 1:
        raise DataError(
            f"{path}: the labels may be in the first column or in the last. Give data.label_column=first or last."
        )
    return found[0]


class _Column:
    """The first or the last column of a table, by a sample of its fields."""

    def __init__(self, first: Sequence[str], spread: Sequence[str], images: int) -> None:
        fields = {*first, *spread}
        self.are_names = sum(bool(field) and not is_number(field) for field in fields) > 1  # one may be damaged
        self.numbers = sorted({float(field) for field in fields if is_number(field)})
        # A class has at least two images, so values that hardly repeat are pixels.
        self.are_many = len(self.numbers) > images / 2
        black_or_white = sum(is_number(field) and float(field) in (0, 255) for field in spread)
        self.is_background = black_or_white > 0.9 * len(spread)  # not of `first`: a table may be sorted by class

    @property
    def is_counted(self) -> bool:
        """Tell whether the numbers run from 0 or 1 without gaps."""
        return self.numbers[0] in (0, 1) and self.numbers[-1] - self.numbers[0] == len(self.numbers) - 1

    @property
    def is_like_labels(self) -> bool:
        if len(self.numbers) < 2 or self.are_many or self.is_background:
            return False
        # A small data set may lack some classes, such as all digits but 3 and 8.
        are_small = self.numbers[0] >= 0 and self.numbers[-1] < 100 and all(n.is_integer() for n in self.numbers)
        return self.is_counted or are_small

    @property
    def is_pixel(self) -> bool:
        if len(self.numbers) < 2 or self.are_many:
            return True
        is_wide = self.numbers[-1] >= 100 and (self.numbers[0] == 0 or len(self.numbers) > 100)
        return not self.is_counted and (self.is_background or is_wide)
