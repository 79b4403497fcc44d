"""Jobs of a sweep: on which GPU of a machine they are, and when they are to end."""

import os
from pathlib import Path

import pytest
import torch

from mlplab.cli import job
from mlplab.sweeps import stop


@pytest.fixture(autouse=True)
def _no_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_gpus", [])


@pytest.mark.parametrize(
    ("count", "visible", "chosen"),
    [
        (3, None, ["0", "1", "2", "0", "1"]),
        (2, "5,7", ["5", "7", "5", "7", "5"]),
        (2, "GPU-a,GPU-b", ["GPU-a", "GPU-b", "GPU-a", "GPU-b", "GPU-a"]),
        (1, None, [None] * 5),
        (0, "", [""] * 5),
    ],
)
def test_jobs_spread_over_the_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None, chosen: list[str | None]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for gpu in chosen:
        assert _chosen(tmp_path, monkeypatch, visible) == gpu


def test_the_gpu_of_a_job_that_has_ended_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    for _ in range(3):
        _chosen(tmp_path, monkeypatch, None)
    job._gpus.pop(1).release()
    assert _chosen(tmp_path, monkeypatch, None) == "1"


def test_how_long_a_job_has_to_end(tmp_path: Path) -> None:
    assert stop.patience(tmp_path) is None
    mark = tmp_path / stop.MARK
    for content, seconds in (("", stop.PATIENCE_S), ("at once", 0.0)):
        mark.write_text(content)
        assert stop.patience(tmp_path) == seconds
    mark.unlink()
    os.mkfifo(mark)  # to open it would wait for who writes to it
    assert stop.patience(tmp_path) is None


def _chosen(folder: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None) -> str | None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    job._choose_gpu(folder)
    return os.environ.get("CUDA_VISIBLE_DEVICES")
