"""data=csv: tables with an image in each row, its label and its pixels from 0 to 255, as on Kaggle and in many courses.

    PATH.csv                         a share is set aside as the test set
    PATH/train.csv PATH/test.csv     any names with train and test in them; a test without labels is for predict.py

A header is optional; the label, a number or a name, is the first or the last column; separators are , or ; or tabs.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import isqrt, prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlplab.config.datasets import TABLES, Reading
from mlplab.data.own.label_column import is_number, likeliest
from mlplab.data.own.layout import TEST, TRAIN, VAL, Labelled, Part, allocated, has_word, natural, tests
from mlplab.errors import DataError

LABELS = ("label", "labels", "class", "target", "y")  # names of the column of labels
SAMPLE, SPREAD = 2000, 200  # rows used to find the column of labels: the first, and some from the whole file
AT_ONCE = 5000  # rows that are parsed together
Bytes = npt.NDArray[np.uint8]


class CsvTable:
    is_slow = True

    def __init__(self, root: Path, reading: Reading) -> None:
        self.root = root
        self.label_column = None if reading.label_column == "auto" else reading.label_column
        if root.is_dir():
            found = sorted(path for path in root.iterdir() if path.suffix.lower() in TABLES and path.name[0] != ".")
            train, test, val = ([path for path in found if has_word(word, path)] for word in (TRAIN, TEST, VAL))
            train = train or (found if len(found) == 1 else [])
            test = tests(test, val)
            if len(train) != 1 or len(test) > 1 or train == test:
                names = ", ".join(path.name for path in found) or "none"
                raise DataError(f"{root}: expected one table train.csv, and perhaps one test.csv; found {names}.")
            self.train_file, self.test_file = train[0], next(iter(test), None)
        else:
            self.train_file, self.test_file = root, None

    @property
    def files(self) -> Sequence[str]:
        return [str(path) for path in (self.train_file, self.test_file) if path is not None]

    def read(self) -> Labelled:
        table = Table.of(self.train_file, self.label_column)
        if table.label_at is None:
            raise DataError(
                f"{self.train_file}: has {table.columns} pixels in a row, and no label before or after them."
            )
        tables = {"train": table}
        if self.test_file is not None:
            test = Table.of(self.test_file, "last" if table.label_at else "first")
            if test.pixels != table.pixels:
                raise DataError(
                    f"{self.test_file}: has {test.pixels} pixels in a row, but {self.train_file} has {table.pixels}."
                )
            if test.label_at is not None:
                tables["test"] = test
        found = {name: one.read() for name, one in tables.items()}
        names = sorted({label for _, labels in found.values() for label in labels}, key=natural)
        index = {name: k for k, name in enumerate(names)}
        parts = {
            name: Part(images, np.array([index[label] for label in labels], np.int64), tables[name].place)
            for name, (images, labels) in found.items()
        }
        return Labelled(parts["train"], parts.get("test"), names)


def images(path: Path, shape: tuple[int, int, int]) -> Bytes:
    """Read a table without labels, images (N, C, H, W) of this shape.

    Raises:
        DataError: if it is damaged, or has another number of pixels.
    """
    table = Table.of(path, "first")
    if table.label_at is not None:
        raise DataError(
            f"{path}: has {table.columns} columns; expected the {prod(shape)} pixels alone, without labels."
        )
    if table.pixels != prod(shape):
        raise DataError(f"{path}: has {table.pixels} pixels in a row, but the network takes {prod(shape)}.")
    return table.read()[0].reshape(-1, *shape)


class Table(NamedTuple):
    path: Path
    separator: str
    has_header: bool
    columns: int
    label_at: int | None  # 0, or -1 for the last column; None: there are pixels alone

    @property
    def pixels(self) -> int:
        return self.columns - (self.label_at is not None)

    def place(self, row: int) -> str:
        return f"{self.path}, row {row + 1 + self.has_header}"

    @classmethod
    def of(cls, path: Path, label_column: str | None) -> "Table":
        """Find header, separator and column of the labels, from the first rows.

        Raises:
            DataError: if it is no table of square images.
        """
        lines = list(islice(_lines(path), SAMPLE))
        if not lines or not lines[0].strip():
            raise DataError(f"{path}: is empty, or begins with an empty line.")
        separator = max(",;\t", key=lines[0].count)
        rows = list(_fields(lines, separator))
        first = rows[0]
        columns = len(first)
        is_square = {count: isqrt(count) ** 2 == count and count > 1 for count in (columns - 1, columns)}
        if not any(is_square.values()):
            raise DataError(
                f"{path}: row 1 has {columns} columns; expected a label and the pixels of a square image, such as 785."
            )
        has_header, label_at = _is_header(path, first), None
        if is_square[columns - 1]:
            named = {0: first[0].lower() in LABELS, -1: first[-1].lower() in LABELS} if has_header else {}
            label_at = next((at for at, is_label in named.items() if is_label), None)
            if label_at is None:
                label_at = {"first": 0, "last": -1}.get(label_column or "")
            if label_at is None:
                spread = [row for row in _fields(_spread(path), separator) if len(row) == columns]
                label_at = likeliest(path, rows[has_header:], spread)
        return cls(path, separator, has_header, columns, label_at)

    def read(self) -> tuple[Bytes, list[str]]:
        """Read images (N, 1, H, W) and N labels."""
        rows = sum(1 for _ in _lines(self.path)) - self.has_header
        if rows < 1:
            raise DataError(f"{self.path}: has a header, but no rows.")
        side = isqrt(self.pixels)
        found = allocated(self.path, rows, (1, side, side))
        labels: list[str] = []
        lines = islice(_lines(self.path), int(self.has_header), None)
        for start in range(0, rows, AT_ONCE):
            some = [self._divided(line) for line in islice(lines, AT_ONCE)]
            labels += (self._label(label, start + row) for row, (label, _) in enumerate(some))
            found[start : start + len(some)] = self._parsed([rest for _, rest in some], start).reshape(
                -1, 1, side, side
            )
        return found, labels

    def _divided(self, line: str) -> tuple[str, str]:
        """Divide a line into label and pixels."""
        if '"' in line:
            (fields,) = _fields([line], self.separator)
            label = "" if self.label_at is None else fields.pop(self.label_at)
            return label, self.separator.join(fields)
        if self.label_at is None:
            return "", line
        label, _, rest = line.partition(self.separator)
        if self.label_at:
            rest, _, label = line.rpartition(self.separator)
        return label, rest

    def _label(self, label: str, row: int) -> str:
        label = label.strip()
        if self.label_at is None:
            return label
        if is_number(label):  # 7, 07, 7.0 and 7e0 are one class
            if not float(label).is_integer():
                raise DataError(f"{self.place(row)}: the label is {label}, must be a whole number or a name.")
            label = str(int(float(label)))
        if not label or label.startswith("-") or label.lower() == "nan":
            raise DataError(f"{self.place(row)}: the label is {label or 'empty'}, must be a number from 0 or a name.")
        return label

    def _parsed(self, lines: list[str], start: int) -> Bytes:
        """Return the pixels (N, pixels) of some lines; raises DataError with the row of a wrong one."""
        try:
            found = np.loadtxt(lines, np.uint8, delimiter=self.separator, comments=None, ndmin=2)
            if found.shape == (len(lines), self.pixels):
                return found
        except ValueError:
            pass  # what is wrong is found line by line
        return np.stack([self._slowly(line, start + row) for row, line in enumerate(lines)])

    def _slowly(self, line: str, row: int) -> Bytes:
        fields = [field.strip() for field in line.split(self.separator)]
        if len(fields) != self.pixels:
            raise DataError(f"{self.place(row)}: has {len(fields)} pixels, expected {self.pixels}.")
        for column, field in enumerate(fields, start=1):
            if not re.fullmatch(r"\d{1,3}(\.0*)?", field) or float(field) > 255:
                raise DataError(
                    f"{self.place(row)}: pixel {column} is {field or 'empty'}, must be a whole number from 0 to 255."
                )
        return np.array(fields, np.float64).astype(np.uint8)


def _fields(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Divide lines into fields, which may be quoted."""
    for line in lines:
        fields = line.split(separator)
        if '"' in line:
            with suppress(csv.Error):  # a quotation mark without a second one
                fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
        yield [field.strip() for field in fields]


def _is_header(path: Path, first: list[str]) -> bool:
    """Tell whether the first row is a header: names, or numbers that count its columns.

    Raises:
        DataError: if it is neither a header nor an image.
    """
    inner = first[1:-1]
    are_numbers = [is_number(field) for field in inner]
    if not any(are_numbers):
        return bool(inner)
    counted = [int(float(field)) for field in inner if is_number(field)]
    if len(inner) > 2 and all(are_numbers) and counted == list(range(counted[0], counted[0] + len(inner))):
        return True
    if not all(are_numbers):
        column = are_numbers.index(False) + 2
        raise DataError(
            f"{path}: row 1 is neither a header nor an image: column {column} is {first[column - 1] or 'empty'},"
            " but others are numbers."
        )
    return False


def _spread(path: Path) -> Iterator[str]:
    """Yield rows spread over the whole file, because a table may be sorted by class."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for part in range(1, SPREAD):
            file.seek(part * size // SPREAD)
            file.readline()  # the rest of a row
            yield file.readline().decode("utf-8", "replace").rstrip("\r\n")


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines, without empty ones at the end.

    Raises:
        DataError: if it cannot be read, or has an empty line before another.
    """
    empty = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    empty = empty or number
                    continue
                if empty:
                    raise DataError(f"{path}, row {empty}: is empty.")
                yield line.rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: cannot be read: {reason}. Name a table with data.root=...") from error
