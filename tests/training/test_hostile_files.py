"""Reading any checkpoint file runs no code, takes little memory, and ends with a message."""

import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_files import FILES

from mlplab.errors import CheckpointError
from mlplab.training import restore
from mlplab.training.run import Result


@pytest.fixture(scope="module")
def good(tiny_run: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    best = tiny_run.folder / "checkpoints" / "best.ckpt"
    return Path(shutil.copy(best, tmp_path_factory.mktemp("good") / "best.ckpt"))


@pytest.fixture
def _little_memory_and_time() -> Iterator[None]:
    """Allow half a GB more than this process uses, on Linux."""
    pages = Path("/proc/self/statm")
    before = resource.getrlimit(resource.RLIMIT_AS)
    if pages.exists():
        used = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, before[1]))
    began = time.process_time()
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - began < 60


@pytest.mark.usefixtures("_little_memory_and_time")
@pytest.mark.parametrize("name", FILES)
def test_it_is_refused(name: str, good: Path, tmp_path: Path) -> None:
    path, trace = tmp_path / "best.ckpt", tmp_path / "trace"
    FILES[name](path, good, trace)
    with pytest.raises(CheckpointError) as caught:
        restore.load(path)
    refusal = str(caught.value)
    assert 1 <= len(refusal.splitlines()) <= 5
    assert str(path) in refusal
    assert FILES[name].says in refusal
    assert "Give a" in refusal
    assert "weights_only" not in refusal  # torch's advice to switch its check off
    assert not trace.exists()
    assert [left.name for left in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="File name too long"):
        restore.load(tmp_path / ("x" * 300))


def test_a_pipe_in_a_run_folder_is_no_checkpoint(tmp_path: Path, good: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    FILES["a pipe"](tmp_path / "checkpoints" / "best.ckpt", good, tmp_path)
    with pytest.raises(CheckpointError, match=r"no checkpoints/best\.ckpt here"):
        restore.load(tmp_path)
