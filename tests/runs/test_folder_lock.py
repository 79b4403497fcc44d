from pathlib import Path

import pytest

from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import folder_lock


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    folder_lock.claim(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"holds an unfinished run already\. Resume it with resume=.*run, or choose"):
        folder_lock.refuse_used(tmp_path / "run")


def test_a_result_alone_is_a_run(tmp_path: Path) -> None:
    folder_lock.refuse_used(tmp_path)
    (tmp_path / "result.json").touch()
    with pytest.raises(ConfigError, match="holds a run already"):
        folder_lock.refuse_used(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/run: cannot be made or written to: .* hydra\.run\.dir"):
        folder_lock.lock(tmp_path / "file" / "run")
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(CheckpointError, match=r"checkpoints: cannot be written to: File exists"):
        folder_lock.claim(tmp_path)


def test_a_disk_without_room_is_found_before_training(tmp_path: Path) -> None:
    folder_lock.make_sure_of_room(tmp_path, 1000)
    with pytest.raises(CheckpointError, match=r"checkpoints need 1,000,000,000,000.0 MB, and the disk has"):
        folder_lock.make_sure_of_room(tmp_path, 10**18)


def test_what_killed_writers_left_is_deleted(tmp_path: Path) -> None:
    folder_lock.claim(tmp_path)
    left, own = (tmp_path / "checkpoints" / f".last.ckpt.123.{end}" for end in ("mlplab.tmp", "tmp"))
    left.write_bytes(b"half a checkpoint")
    own.write_bytes(b"a person's")
    folder_lock.claim(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == [own]
