import io
import os
from pathlib import Path

import pytest
import torch

from mlplab import durable


def _zip(value: int) -> bytes:
    buffer = io.BytesIO()
    torch.save({"value": torch.tensor(value)}, buffer)
    return buffer.getvalue()


def test_the_old_file_becomes_the_previous_one(tmp_path: Path) -> None:
    path, previous = tmp_path / "last.ckpt", tmp_path / "last.previous.ckpt"
    for content in (b"1", b"2", b"3"):
        durable.write(path, content, previous)
    assert (path.read_bytes(), previous.read_bytes()) == (b"3", b"2")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_between_two_renames_leaves_nothing_behind(tmp_path: Path) -> None:
    """The last file and the previous one are then one file with two names."""
    path, previous = tmp_path / "last.ckpt", tmp_path / "last.previous.ckpt"
    durable.write(path, b"1")
    os.link(path, previous)
    durable.write(path, b"2", previous)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: b"2", previous.name: b"1"}


@pytest.mark.parametrize("links", [True, False])
def test_what_cannot_be_written_leaves_the_old_files(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no")

    path, previous = tmp_path / "last.ckpt", tmp_path / "last.previous.ckpt"
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    durable.write(path, b"1", previous)
    durable.write(path, b"2", previous)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="no"):
            durable.write(path, b"3", previous)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: b"2", previous.name: b"1"}


def test_a_seal_fits_its_content_alone() -> None:
    good = durable.sealed(_zip(1))
    assert durable.is_whole(good)
    assert torch.load(io.BytesIO(good), weights_only=True) == {"value": torch.tensor(1)}
    for byte in (0, 30, len(good) // 2, len(good) - 80, len(good) - 1):
        damaged = bytearray(good)
        damaged[byte] ^= 1
        assert not durable.is_whole(bytes(damaged))
    assert durable.is_whole(_zip(1)) is None
    for cut in (b"", good[:-1], good[:100], b"text"):
        with pytest.raises(ValueError, match="the end is missing or damaged"):
            durable.is_whole(cut)


def test_who_reads_a_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to replace a file that somebody has open."""
    path, replace, readers = tmp_path / "status.json", os.replace, 2

    def refused(source: Path, target: Path) -> None:
        nonlocal readers
        readers -= 1
        if readers >= 0:
            raise PermissionError(13, "used by another process", str(source))
        replace(source, target)

    durable.write(path, b"1")
    monkeypatch.setattr(os, "replace", refused)
    durable.write(path, b"2")
    assert path.read_bytes() == b"2"

    readers = 100
    with pytest.raises(PermissionError):
        durable.write(path, b"3")
    assert path.read_bytes() == b"2"
    assert list(tmp_path.iterdir()) == [path]
