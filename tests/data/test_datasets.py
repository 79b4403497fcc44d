import dataclasses
import gzip
import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import idx
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from mlplab.config import datasets as config
from mlplab.data import datasets, download
from mlplab.errors import DataError

TEST_LABELS = idx.FILES[3]


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data sets for a test to damage."""
    return shutil.copytree(tiny_root, tmp_path / "data")


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the files are there, and yet they are downloaded")

    monkeypatch.setattr(download, "fetch", refuse)


@pytest.mark.parametrize(("name", "first", "last"), [("mnist", "0", "9"), ("fashion", "T-shirt/top", "Ankle boot")])
def test_what_was_written_is_read(name: str, first: str, last: str, tiny_root: Path) -> None:
    dataset = datasets.load(name, tiny_root)
    classes = dataset.info.classes
    assert (classes[0], classes[-1], len(classes)) == (first, last, 10)
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


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    dataset = datasets.load("digits", tmp_path)
    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
    test = torch.arange(1797) % 5 == 0
    assert (len(dataset.train_images), len(dataset.test_images)) == (1437, 360)
    for part, rows in (("train", ~test), ("test", test)):
        assert torch.equal(getattr(dataset, f"{part}_images"), images[rows])
        assert torch.equal(getattr(dataset, f"{part}_labels"), torch.from_numpy(digits.target)[rows])
    assert dataset.info.image_shape == (1, 8, 8)
    assert list(tmp_path.iterdir()) == []


def test_digits_that_are_gone_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sklearn" / "datasets" / "data").mkdir(parents=True)
    (tmp_path / "sklearn" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "modules", {name: sys.modules[name] for name in sys.modules if name != "sklearn"})
    with pytest.raises(DataError, match=r"digits.csv.gz: missing or damaged.*\nReinstall scikit-learn"):
        datasets.load("digits", tmp_path)
    for content in (
        b"",
        b"no gzip",
        gzip.compress(b"1,2,3\n"),
        gzip.compress(b"0,x\n"),
        gzip.compress(b"0\n" * 99)[:-9],
    ):
        (tmp_path / "sklearn" / "datasets" / "data" / "digits.csv.gz").write_bytes(content)
        with pytest.raises(DataError, match="missing or damaged"):
            datasets.load("digits", tmp_path)
    shutil.rmtree(tmp_path / "sklearn")
    with pytest.raises(DataError, match="scikit-learn, which is not installed"):
        datasets.load("digits", tmp_path)


def test_only_what_is_missing_is_fetched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "MNIST" / "raw"
    content = (folder / TEST_LABELS).read_bytes()
    (folder / TEST_LABELS).unlink()
    asked = []

    def fetch(dataset: type, where: Path, files: list[str], downloads: object) -> None:
        asked.append((dataset.__name__, where, files))
        (folder / TEST_LABELS).write_bytes(content)

    monkeypatch.setattr(download, "fetch", fetch)
    assert len(datasets.load("mnist", root).test_labels) == 50
    assert asked == [("MNIST", root, [TEST_LABELS])]


def _moved(folder: Path, to: str, rename: Callable[[str], str] = str) -> None:
    """Move files of the tiny MNIST to another folder, where a user may put them."""
    where = folder.parents[1] / to
    where.mkdir(parents=True, exist_ok=True)
    for path in list(folder.iterdir()):
        path.rename(where / rename(path.name))


def _packed(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def _as_from_kaggle(folder: Path) -> None:
    """Store each file twice, as in the archives of Kaggle: under another name, and in a folder of its name."""
    for path in list(folder.iterdir()):
        content = path.read_bytes()
        path.with_name(_dotted(path.name)).write_bytes(content)
        path.unlink()
        path.mkdir()
        (path / path.name).write_bytes(content)


def _dotted(name: str) -> str:
    return name.replace("-idx", ".idx")


@pytest.mark.parametrize("root_of", ["data", "data/MNIST", "data/MNIST/raw"])
@pytest.mark.parametrize(
    "change",
    [
        lambda folder: None,
        _as_from_kaggle,
        _packed,
        lambda folder: (_moved(folder, "MNIST/raw", _dotted), _packed(folder)),
        lambda folder: _moved(folder, "MNIST"),
    ],
    ids=["as it is", "other names", "packed", "other names, packed", "no folder raw"],
)
def test_files_that_were_put_there_by_hand(
    root: Path, tmp_path: Path, tiny_root: Path, change: Callable[[Path], Any], root_of: str
) -> None:
    folder = root / "MNIST" / "raw"
    change(folder)
    if not any(folder.iterdir()):
        folder.rmdir()
        root_of = root_of.removesuffix("/raw")
    before = sorted(root.rglob("*"))
    found, expected = datasets.load("mnist", tmp_path / root_of), datasets.load("mnist", tiny_root)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert sorted(root.rglob("*")) == before


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A root with both tiny data sets, which count as the official ones."""
    root = tmp_path / "official"
    for number, (name, source) in enumerate([(name, config.IDX_DATASETS[name]) for name in ("mnist", "fashion")]):
        folder = idx.write(root, source.dataset, train=200 + 100 * number, test=50 + 10 * number)
        sha256 = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in idx.FILES}
        monkeypatch.setitem(config.IDX_DATASETS, name, dataclasses.replace(source, sha256=sha256))
        for file in idx.FILES:
            monkeypatch.setitem(config.OFFICIAL_SIZE, f"{name} {file}", (folder / file).stat().st_size)
    return root


@pytest.mark.parametrize("to", ["", "raw", "mnist", "some where/raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_official_files_are_known_wherever_they_are(official: Path, to: str, packed: bool) -> None:
    folder = official / "MNIST" / "raw"
    if packed:
        _packed(folder)
    shutil.rmtree(official / "FashionMNIST")
    _moved(folder, to, _dotted)
    assert len(datasets.load("mnist", official).train_images) == 200


def test_files_of_another_data_set_are_named(official: Path) -> None:
    shutil.rmtree(official / "MNIST")
    (official / "FashionMNIST").rename(official / "MNIST")
    with pytest.raises(
        DataError, match=r"MNIST/raw/train-images-idx3-ubyte: this is .* of data=fashion, not "
    ) as caught:
        datasets.load("mnist", official)
    assert "FashionMNIST/raw/train-images-idx3-ubyte" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5
    assert len(datasets.load("fashion", official).train_images) == 300


def test_a_file_of_the_same_data_set_in_the_place_of_another_is_named(official: Path) -> None:
    folder = official / "MNIST" / "raw"
    shutil.copyfile(folder / "train-labels-idx1-ubyte", folder / TEST_LABELS)
    with pytest.raises(DataError, match=f"{TEST_LABELS}: this is train-labels-idx1-ubyte of data=mnist"):
        datasets.load("mnist", official)


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-30], lambda content: content[:-8] + bytes(4) + content[-4:]]
)
def test_what_cannot_be_used_is_named_once_nothing_else_helps(
    root: Path, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tested with unofficial files in a folder that may hold another data set, and a damaged archive."""

    def fetch(*_: object) -> None:
        raise DataError("these are missing\nno network\nways out")

    monkeypatch.setattr(download, "fetch", fetch)
    folder = root / "MNIST" / "raw"
    archive = folder / _dotted(f"{TEST_LABELS}.gz")
    archive.write_bytes(damage(gzip.compress((folder / TEST_LABELS).read_bytes())))
    (folder / TEST_LABELS).unlink()
    with pytest.raises(DataError, match=rf"these are missing\nno network\nNot used: {archive}: ") as caught:
        datasets.load("mnist", root)
    assert "\nways out" not in str(caught.value)
    archive.unlink()
    _moved(folder, "")
    with pytest.raises(
        DataError,
        match=rf"Not used: {root}/train-images-idx3-ubyte: not the official .*\nTo use it anyway, move",
    ):
        datasets.load("mnist", root)


def test_what_is_kept_is_not_read_again(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_kept", {})
    root = tmp_path / "data"
    shutil.copytree(tiny_root, root)
    datasets.keep("mnist", root)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(root / "MNIST")
    assert datasets.load("mnist", Path("data")) is datasets.load("mnist", root)
    assert len(datasets.load("fashion", root).train_images) == 200
