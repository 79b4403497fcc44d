import shutil
from collections.abc import Callable
from pathlib import Path

import idx
import pytest
import torch
from sklearn.datasets import load_digits

from mlplab import datasets, download
from mlplab.errors import DataError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = idx.FILES


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data sets that a test may damage."""
    return shutil.copytree(tiny_root, tmp_path / "data")


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the files are there, and yet they are downloaded")

    monkeypatch.setattr(download, "fetch", refuse)


def _refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        datasets.load("mnist", root)
    assert len(str(caught.value).splitlines()) <= 5
    return str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_what_was_written_is_read(name: str, tiny_root: Path) -> None:
    dataset = datasets.load(name, tiny_root)
    for (images, labels), seed in (
        ((dataset.train_images, dataset.train_labels), 1),
        ((dataset.test_images, dataset.test_labels), 2),
    ):
        expected_images, expected_labels = idx.patterned(len(images), seed)
        assert torch.equal(images, expected_images.unsqueeze(1))
        assert torch.equal(labels, expected_labels.long())
    assert dataset.info.image_shape == (1, 28, 28)
    pixels = dataset.train_images.double() / 255
    assert dataset.info.mean == pytest.approx(pixels.mean().item())
    assert dataset.info.std == pytest.approx(pixels.std(correction=0).item())


def test_classes_have_their_names(tiny_root: Path) -> None:
    assert datasets.load("mnist", tiny_root).info.classes == tuple("0123456789")
    names = datasets.load("fashion", tiny_root).info.classes
    assert (names[0], names[9], len(names)) == ("T-shirt/top", "Ankle boot", 10)


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    dataset = datasets.load("digits", tmp_path)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float() * (255 / 16)
    test = torch.arange(1797) % 5 == 0
    assert dataset.info.image_shape == (1, 8, 8)
    assert (len(dataset.train_images), len(dataset.test_images)) == (1437, 360)
    for part, rows in (("train", ~test), ("test", test)):
        found = getattr(dataset, f"{part}_images").squeeze(1).float()
        assert (found - images[rows]).abs().max() <= 0.5  # rounded to whole grey levels
        assert torch.equal(getattr(dataset, f"{part}_labels"), torch.from_numpy(digits.target)[rows].long())
    assert list(tmp_path.iterdir()) == []


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        (TRAIN_IMAGES, lambda content: content[:-1], "expected 156,816 bytes for 200 x 28 x 28 items"),
        (TEST_IMAGES, lambda content: content + b"x", "expected 39,216 bytes for 50 x 28 x 28 items"),
        (TRAIN_IMAGES, lambda content: content[:10], "header of 16 bytes, found 10"),
        (TRAIN_IMAGES, lambda _: b"", "found 0 bytes"),
        (TEST_LABELS, lambda _: b"", "found 0 bytes"),
        (TRAIN_IMAGES, lambda _: b"<!DOCTYPE html><html>not found</html>", "expected an IDX file"),
        (TRAIN_LABELS, lambda _: b"\x1f\x8b\x08\x00" + bytes(100), "expected an IDX file"),
        (TRAIN_LABELS, lambda _: idx.encoded(idx.patterned(200, 1)[0]), "first number 2049), found 2051"),
        (TRAIN_LABELS, lambda content: content[:-1] + b"\x0a", "must be from 0 to 9, found 10"),
        (TEST_LABELS, lambda content: content[:-1] + b"\xc8", "must be from 0 to 9, found 200"),
        (TRAIN_LABELS, lambda _: idx.encoded(idx.patterned(199, 1)[1]), "199 labels for 200 images"),
        (TEST_LABELS, lambda _: idx.encoded(idx.patterned(60, 1)[1]), "60 labels for 50 images"),
        (TRAIN_LABELS, lambda _: idx.encoded(torch.zeros(0, dtype=torch.uint8)), "0 items"),
        (TEST_LABELS, lambda _: idx.encoded(torch.zeros(10_000, dtype=torch.uint8)), "damaged: expected sha256"),
    ],
)
def test_a_damaged_file_is_named(root: Path, file: str, damage: Damage, says: str) -> None:
    path = root / "MNIST" / "raw" / file
    path.write_bytes(damage(path.read_bytes()))
    refusal = _refusal(root)
    assert str(path) in refusal
    assert says in refusal
    assert "Delete" in refusal


def test_a_folder_in_place_of_a_file_is_named(root: Path) -> None:
    path = root / "MNIST" / "raw" / TRAIN_LABELS
    path.unlink()
    path.mkdir()
    assert _refusal(root).startswith(f"{path}: cannot be read: ")


def test_images_of_two_sizes_are_refused(root: Path) -> None:
    images = torch.zeros(50, 20, 20, dtype=torch.uint8)
    (root / "MNIST" / "raw" / TEST_IMAGES).write_bytes(idx.encoded(images))
    refusal = _refusal(root)
    assert "28x28" in refusal
    assert "20x20" in refusal


def test_only_what_is_missing_is_fetched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "MNIST" / "raw"
    content = (folder / TEST_LABELS).read_bytes()
    (folder / TEST_LABELS).unlink()
    asked = []

    def fetch(dataset: type, where: Path, files: list[str]) -> None:
        asked.append((dataset.__name__, where, files))
        (folder / TEST_LABELS).write_bytes(content)

    monkeypatch.setattr(download, "fetch", fetch)
    assert len(datasets.load("mnist", root).test_labels) == 50
    assert asked == [("MNIST", root, list(idx.FILES))]
