"""A second start reads the cache, and finds changed files."""

import os
import threading
from pathlib import Path

import own_data
import pytest
import torch
from PIL import Image

from mlplab.config.datasets import Reading
from mlplab.data import datasets, image_files
from mlplab.data.image_dataset import ImageDataset

TRAIN = own_data.made(30, seed=1)
AS_THEY_ARE = Reading(prepare="none")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    own_data.write_folder(tmp_path / "data", *TRAIN)
    return tmp_path / "data"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The pictures that were opened so far."""
    paths: list[Path] = []
    read = image_files.as_is
    monkeypatch.setattr(image_files, "as_is", lambda path, shape: paths.append(path) or read(path, shape))
    return paths


def _load(root: Path) -> ImageDataset:
    return datasets.load("folder", root, AS_THEY_ARE)


def test_the_second_time_no_picture_is_opened(root: Path, opened: list[Path]) -> None:
    first = _load(root)
    assert len(opened) == 30
    second = _load(root)
    assert len(opened) == 30
    assert first.info == second.info
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == [".mlplab"]


def _rewritten(root: Path) -> None:
    """Write another picture of the same size and time of modification."""
    path = root / "0" / "3.png"
    before = path.stat()
    Image.fromarray(255 - TRAIN[0][3].numpy()).save(path)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0")[: before.st_size])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        _rewritten,
        lambda root: (root / "0" / "3.png").unlink(),
        lambda root: (root / "0" / "3.png").rename(root / "1" / "3.png"),
        lambda root: Image.fromarray(TRAIN[0][0].numpy()).save(root / "2" / "new.png"),
    ],
    ids=["rewritten", "deleted", "of another class", "new"],
)
def test_changed_files_are_read_again(root: Path, opened: list[Path], change: object) -> None:
    _load(root)
    opened.clear()
    assert callable(change)
    change(root)
    _load(root)
    assert len(opened) in (29, 30, 31)
    opened.clear()
    _load(root)
    assert not opened


def test_each_preparation_has_its_own(root: Path, opened: list[Path]) -> None:
    _load(root)
    datasets.load("folder", root, Reading(prepare="fashion"))
    assert datasets.load("folder", root, Reading(prepare="fashion")).info.image_shape == (1, 28, 28)
    _load(root)
    assert len(opened) == 30


@pytest.mark.parametrize("damage", [lambda content: content[:-900], lambda content: b"", lambda content: content[::-1]])
def test_a_damaged_cache_is_written_again(root: Path, opened: list[Path], damage: object) -> None:
    first = _load(root)
    (cache,) = (root / ".mlplab").iterdir()
    assert callable(damage)
    cache.write_bytes(damage(cache.read_bytes()))
    for expected in (60, 60):
        assert torch.equal(_load(root).train_images, first.train_images)
        assert len(opened) == expected


def test_where_nothing_can_be_written_it_is_at_home(root: Path, opened: list[Path], tmp_path: Path) -> None:
    (root / ".mlplab").touch()
    _load(root)
    _load(root)
    assert len(opened) == 30
    assert len(list((tmp_path / "home/.cache/mlplab/own").iterdir())) == 1
    (tmp_path / "home/.cache/mlplab/own").rename(tmp_path / "gone")
    (tmp_path / "home/.cache/mlplab/own").touch()
    assert torch.equal(_load(root).train_images, _load(root).train_images)
    assert len(opened) == 90


def test_several_at_once(root: Path) -> None:
    found: list[ImageDataset] = []
    threads = [threading.Thread(target=lambda: found.append(_load(root))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(torch.equal(one.train_images, found[0].train_images) for one in (*found, _load(root)))
