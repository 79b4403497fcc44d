"""Errors about damaged data name the file, the finding, and a solution."""

import os
import shutil
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torchvision
from damaged_data import DAMAGES

from mlplab.data import datasets
from mlplab.errors import DataError


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny MNIST for a test to damage."""
    shutil.copytree(tiny_root / "MNIST", tmp_path / "data" / "MNIST")
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def _little_memory_and_time() -> Iterator[None]:
    tracemalloc.start()
    began = time.process_time()
    yield
    assert time.process_time() - began < 60
    assert tracemalloc.get_traced_memory()[1] < 20e6  # bytes, the memory of Python itself
    tracemalloc.stop()


@pytest.mark.usefixtures("_little_memory_and_time")
@pytest.mark.parametrize("name", DAMAGES)
def test_it_is_named(name: str, root: Path) -> None:
    path = DAMAGES[name](root)
    with pytest.raises(DataError) as caught:
        datasets.load("mnist", root)
    refusal = str(caught.value)
    assert 2 <= len(refusal.splitlines()) <= 5
    for words in (str(path), *DAMAGES[name].says):
        assert words in refusal


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="File name too long"):
        datasets.load("mnist", tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("what", ["MNIST/raw/train-labels-idx1-ubyte", "MNIST/raw"])
def test_what_may_not_be_read_is_named(what: str, root: Path) -> None:
    (root / what).chmod(0)
    with pytest.raises(DataError, match=rf"{what}: (.|\n)*Permission denied"):
        datasets.load("mnist", root)
    (root / what).chmod(0o700)
