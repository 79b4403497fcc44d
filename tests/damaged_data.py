"""Ways to damage the files of a data set, each with expected words of the error."""

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import idx
import torch

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = idx.FILES


@dataclass(frozen=True)
class Damage:
    """A damage; `change` is given the path of `file` in a tiny MNIST, or of its folder if `file` is empty."""

    file: str
    says: tuple[str, ...]
    change: Callable[[Path], object]

    def __call__(self, root: Path) -> Path:
        """Damage the MNIST below `root`, and return the path that the error must name."""
        path = root / "MNIST" / "raw" / self.file
        self.change(path)
        return path


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _holds(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _header(*numbers: int) -> Callable[[Path], object]:
    """Replace the header of a file."""
    header = b"".join(number.to_bytes(4, "big") for number in numbers)
    return _bytes(lambda content: header + content[len(header) :])


def _labels(count: int) -> bytes:
    return idx.encoded(torch.full((count,), 3, dtype=torch.uint8))


def _images(count: int, height: int = 28, width: int = 28) -> bytes:
    return idx.encoded(torch.zeros(count, height, width, dtype=torch.uint8))


def _swap(path: Path, other: str) -> None:
    content = path.read_bytes()
    path.write_bytes((path.parent / other).read_bytes())
    (path.parent / other).write_bytes(content)


def _replace(path: Path, by: Callable[[Path], object]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    by(path)


def _archives(folder: Path, cut: int) -> None:
    """Replace the files by truncated .gz archives."""
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-cut])
        path.unlink()


OFFLINE = ("could not be downloaded", "data.root", "MLPLAB_DATA")
DELETE = "Delete it"

DAMAGES = {
    # Of the folder
    "no folder": Damage("", (*idx.FILES, *OFFLINE), shutil.rmtree),
    "a file in place of the folder": Damage(
        "", ("File exists", *OFFLINE), lambda raw: _replace(raw, lambda path: path.write_bytes(b"x"))
    ),
    "the folder is a link to itself": Damage(
        "", OFFLINE, lambda raw: _replace(raw, lambda path: path.symlink_to(path))
    ),
    "test images are missing": Damage("", (TEST_IMAGES, *OFFLINE), lambda raw: (raw / TEST_IMAGES).unlink()),
    "damaged archives alone": Damage(
        "",
        ("could not be downloaded", "Not used: ", f"{TRAIN_IMAGES}.gz: cannot be read", DELETE),
        lambda raw: _archives(raw, cut=20),
    ),
    # Not a file
    "a folder in place of a file": Damage(
        TRAIN_LABELS, ("not a file", DELETE), lambda path: _replace(path, Path.mkdir)
    ),
    "a pipe in place of a file": Damage(
        TRAIN_IMAGES, ("not a file", DELETE), lambda path: _replace(path, lambda pipe: os.mkfifo(pipe))
    ),
    # Of another length
    "cut in the header": Damage(
        TRAIN_IMAGES, ("header of 16 bytes", "found 15 bytes", DELETE), _bytes(lambda content: content[:15])
    ),
    "cut in the middle": Damage(
        TEST_IMAGES,
        ("expected 39,216 bytes for 50 x 28 x 28 items", "found 19,608", DELETE),
        _bytes(lambda content: content[: len(content) // 2]),
    ),
    "a byte too many": Damage(
        TEST_IMAGES,
        ("expected 39,216 bytes for 50 x 28 x 28 items", "found 39,217", DELETE),
        _bytes(lambda content: content + b"x"),
    ),
    # Of another kind
    "a page of the web": Damage(
        TRAIN_IMAGES, ("expected an IDX file", DELETE), _holds(b"<!DOCTYPE html><html>404 not found</html>")
    ),
    "images and labels swapped": Damage(
        TRAIN_IMAGES, ("first number 2051), found 2049", DELETE), lambda path: _swap(path, TRAIN_LABELS)
    ),
    "training and test images swapped": Damage(
        TRAIN_LABELS, ("200 labels for 50 images", DELETE), lambda path: _swap(path.parent / TRAIN_IMAGES, TEST_IMAGES)
    ),
    # Wrong headers
    "a label too few": Damage(TRAIN_LABELS, ("199 labels for 200 images", DELETE), _holds(_labels(199))),
    "no labels": Damage(TRAIN_LABELS, ("0 items", DELETE), _holds(_labels(0))),
    "as many pixels as 64 bits take for none": Damage(
        TEST_IMAGES, ("18,446,744,073,709,551,632 bytes", DELETE), _header(2051, 1 << 31, 1 << 31, 4)
    ),
    # The items are not those of the data set
    "labels that count from 1": Damage(
        TEST_LABELS,
        ("must be from 0 to 9, found 10", DELETE),
        _bytes(lambda content: content[:8] + bytes(label + 1 for label in content[8:])),
    ),
    "other images of the official size": Damage(
        TEST_IMAGES, ("damaged: expected sha256 0fa7898d509279e4", DELETE), _holds(_images(10_000))
    ),
    "test images of another size": Damage(
        "", ("28x28", "20x20"), lambda raw: _holds(_images(50, 20, 20))(raw / TEST_IMAGES)
    ),
    "training images that are all black": Damage(TRAIN_IMAGES, ("the same value", DELETE), _holds(_images(200))),
}
