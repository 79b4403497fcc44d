"""Unusable own data are reported in one to five lines, with file and row."""

import shutil
from collections.abc import Callable
from pathlib import Path

import idx
import own_data
import pytest
import torch
from PIL import Image

from mlplab import startup
from mlplab.config.datasets import Reading
from mlplab.data import datasets, download
from mlplab.errors import DataError

TRAIN, TEST = own_data.made(30, seed=1), own_data.made(12, seed=2)
ROWS, TEST_ROWS = own_data.rows_of(*TRAIN), own_data.rows_of(*TEST)
HEADER = ["label", *(f"pixel{n}" for n in range(64))]
Change = Callable[[Path], object]


def _tables(change: Callable[[list[list[str]]], object], of_test: bool = False) -> Change:
    def write(root: Path) -> None:
        train, test = ([list(row) for row in (HEADER, *rows)] for rows in (ROWS, TEST_ROWS))
        change(test if of_test else train)
        own_data.write_csv(root / "train.csv", train)
        own_data.write_csv(root / "test.csv", test)

    return write


def _set(row: int, column: int, value: str) -> Callable[[list[list[str]]], object]:
    """Change a field; row and column from 1."""
    return lambda rows: rows[row - 1].__setitem__(column - 1, value)


def _folders(change: Change) -> Change:
    def write(root: Path) -> None:
        own_data.write_folder(root / "train", *TRAIN)
        own_data.write_folder(root / "test", *TEST)
        change(root)

    return write


def _larger(path: Path) -> None:
    Image.new("L", (9, 7)).save(path)


def _only_one(folder: Path) -> None:
    for path in list(folder.iterdir())[1:]:
        path.unlink()


def _idx(change: Change) -> Change:
    def write(root: Path) -> None:
        own_data.write_idx(root, TRAIN, TEST)
        change(root)

    return write


BAD: dict[str, tuple[str, Change, tuple[str, ...]]] = {
    "nothing there": ("folder", lambda root: None, ("no pictures of classes found", "CLASS/*.png")),
    "a folder that is a file": ("folder", lambda root: (root.rmdir(), root.touch()), ("not a folder",)),
    "an empty folder": (
        "folder", _folders(lambda root: (root / "train" / "3").mkdir()),
        ("train/3: the folder of a class", "no pictures"),
    ),
    "data one folder further down": (
        "folder", lambda root: _folders(lambda _: None)(root / "pets"),
        ("pets: the folder of a class", "only folders in it: test, train.", "/data/pets. Otherwise"),
    ),
    "two folders to train": (
        "folder", _folders(lambda root: own_data.write_folder(root / "training", *TRAIN)),
        ("expected one folder train, and perhaps one folder test; found test, train, training.",),
    ),
    "a quotation mark alone": ("csv", _tables(_set(3, 1, '"2')), ("train.csv, row 3",)),
    "a class is missing in the test": (
        "folder", _folders(lambda root: shutil.rmtree(root / "test" / "1")), ("the class 1 has no test image",),
    ),
    "a class only in the test": (
        "folder", _folders(lambda root: (root / "test" / "1").rename(root / "test" / "cat")),
        ("the class 1 has no test image", "the class cat of the test set (", "test/cat/1.png) has no training image"),
    ),
    "one image in a class": (
        "folder", _folders(lambda root: _only_one(root / "train" / "2")), ("the class 2 has one image (", ".png)"),
    ),
    "one class": ("folder", lambda root: own_data.write_folder(root, TRAIN[0], 0 * TRAIN[1]), ("only the class 0",)),
    "pictures of a class in two folders": (
        "folder", _folders(lambda root: own_data.write_folder(root / "train" / "2" / "more", *TRAIN)),
        ("train/2: the folder of a class, with pictures in it and in its folder more.\nMove these up",),
    ),
    "a class of no text": (
        "folder", _folders(lambda root: (root / "train" / "2").rename(root / "train" / "caf\udce9")),
        ("train/caf\\udce9/", "the name of the class is not valid UTF-8. Rename it."),
    ),
    "test without train": (
        "folder", _folders(lambda root: (root / "train").rename(root / "tran")),
        ("has a folder test, but no folder train",),
    ),
    "pictures of several sizes": (
        "folder", _folders(lambda root: _larger(root / "train" / "0" / "12.png")),
        ("train/0/12.png: has 7x9 pixels, but the other images have 8x8", "data.prepare=mnist"),
    ),
    "a damaged picture": (
        "folder",
        _folders(lambda root: (root / "train" / "0" / "12.png").write_bytes(
            (root / "train" / "0" / "9.png").read_bytes()[:60])),
        ("train/0/12.png: not an image that can be read",),
    ),
    "many damaged pictures": (
        "folder", _folders(lambda root: [path.write_text("<html>") for path in (root / "train").glob("*/*")]),
        ("not an image that can be read: a web page",),
    ),
    "a black data set": ("idx", _idx(lambda root: own_data.write_idx(root, (0 * TRAIN[0], TRAIN[1]), TEST)),
                         ("all pixels have the same value, 0",)),
    "no table": ("csv", lambda root: None, ("expected one table train.csv", "found none")),
    "an empty table": ("csv", lambda root: (root / "train.csv").touch(), ("train.csv: is empty",)),
    "a header alone": ("csv", lambda root: own_data.write_csv(root / "a.csv", [HEADER]), ("has a header, but no",)),
    "a header that is none": ("csv", _tables(lambda rows: rows.pop(0) and _set(1, 7, "x")(rows)),
                              ("train.csv: row 1 is neither a header nor an image: column 7 is x",)),
    "no labels": (
        "csv", _tables(lambda rows: [row.pop() for row in rows]), ("64 pixels in a row, and no label before or after",),
    ),
    "columns of no image": ("csv", _tables(lambda rows: [row.append("1") or row.append("2") for row in rows]),
                            ("row 1 has 67 columns; expected a label",)),
    "a row that is short": ("csv", _tables(lambda rows: rows[4].pop()), ("train.csv, row 5: has 63 pixels, ",)),
    "an empty row": ("csv", _tables(lambda rows: rows.insert(6, [])), ("train.csv, row 7: is empty",)),
    "a pixel above 255": ("csv", _tables(_set(17, 4, "256")), ("train.csv, row 17: pixel 3 is 256", "from 0 to 255")),
    "pixels from 0 to 1": ("csv", _tables(_set(9, 5, "0.53")), ("train.csv, row 9: pixel 4 is 0.53", "a whole number")),
    "a negative label": ("csv", _tables(_set(3, 1, "-1")), ("train.csv, row 3: the label is -1",)),
    "a label that is no class": ("csv", _tables(_set(3, 1, "0.5")), ("train.csv, row 3: the label is 0.5",)),
    "a label out of range": ("csv", _tables(_set(30, 1, "17")), ("the class 17 has one image (", "train.csv, row 30)")),
    "another label in the test": (
        "csv", _tables(_set(5, 1, "7"), of_test=True), ("the class 7 of the test set (", "test.csv, row 5) has no"),
    ),
    "other pixels in the test": (
        "csv", _tables(lambda rows: rows.__setitem__(slice(None), [row[:50] for row in rows]), of_test=True),
        ("test.csv: has 49 pixels in a row, but ", "train.csv has 64"),
    ),
    "no text": ("csv", lambda root: (root / "train.csv").write_bytes(b"1,2\xff\n"), ("not UTF-8 text",)),
    "three idx files": ("idx", _idx(lambda root: (root / idx.FILES[3]).unlink()), ("expected images", idx.FILES[0])),
    "two files of labels": (
        "idx", _idx(lambda root: (root / idx.FILES[0]).write_bytes((root / idx.FILES[1]).read_bytes())),
        ("both hold labels",),
    ),
    "labels for other images": (
        "idx", _idx(lambda root: (root / idx.FILES[1]).write_bytes(idx.encoded(TRAIN[1][:29]))),
        ("29 labels for 30 images",),
    ),
    "an idx file that is cut": (
        "idx", _idx(lambda root: (root / idx.FILES[0]).write_bytes((root / idx.FILES[0]).read_bytes()[:-1])),
        (f"{idx.FILES[0]}: expected 1,936 bytes", "found 1,935"),
    ),
    "images of two colours": (
        "idx", _idx(lambda root: own_data.write_idx(root, (TRAIN[0].reshape(30, 2, 4, 8), TRAIN[1]), TEST)),
        (f"{idx.FILES[0]}: has images of 2x4x8 numbers; expected 1 or 3 colours, first or last.",),
    ),
    "test images of another size": (
        "idx", _idx(lambda root: own_data.write_idx(root, TRAIN, (torch.zeros(12, 9, 9, dtype=torch.uint8), TEST[1]))),
        ("training images have 1x8x8 numbers, test images 1x9x9",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_data(bad: str, tmp_path: Path) -> None:
    name, write, says = BAD[bad]
    root = tmp_path / "data"
    root.mkdir()
    write(root)
    with pytest.raises(DataError) as caught:
        datasets.load(name, root, Reading(prepare="none"))
    for words in (str(root), *says):
        assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5
    assert not (root / ".mlplab").exists()


@pytest.mark.parametrize("name", ["folder", "csv"])
def test_memory_is_named_before_it_is_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _folders(lambda _: None)(tmp_path)
    _tables(lambda _: None)(tmp_path)
    monkeypatch.setattr(startup, "free_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"30 images of 1x8x8 numbers need 0.0 GB of memory, 0.0 GB are free"):
        datasets.load(name, tmp_path, Reading(prepare="none"))
    monkeypatch.undo()
    free = startup.free_memory()
    assert free is None or 10**6 < free < 10**15


def test_what_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: does not exist.\nName the folder or file"):
        download.require("csv", tmp_path / "nowhere")
