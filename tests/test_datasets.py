import gzip
import shutil
import sys
from pathlib import Path

import idx
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from mlplab import datasets, download
from mlplab.errors import DataError

TEST_LABELS = idx.FILES[3]


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data sets that a test may damage."""
    return shutil.copytree(tiny_root, tmp_path / "data")


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the files are there, and yet they are downloaded")

    monkeypatch.setattr(download, "fetch", refuse)


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
    with pytest.raises(DataError, match=r"digits.csv.gz: missing or damaged.*\nInstall scikit-learn anew"):
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

    def fetch(dataset: type, where: Path, files: list[str]) -> None:
        asked.append((dataset.__name__, where, files))
        (folder / TEST_LABELS).write_bytes(content)

    monkeypatch.setattr(download, "fetch", fetch)
    assert len(datasets.load("mnist", root).test_labels) == 50
    assert asked == [("MNIST", root, list(idx.FILES))]


def test_what_is_kept_is_not_read_again(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_kept", {})
    root = tmp_path / "data"
    shutil.copytree(tiny_root, root)
    datasets.keep("mnist", root)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(root / "MNIST")
    assert datasets.load("mnist", Path("data")) is datasets.load("mnist", root)
    assert len(datasets.load("fashion", root).train_images) == 200
