import errno
import os
from pathlib import Path

import pytest

from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    run_folder.claim(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"holds an unfinished run already\. Resume it with resume=.*run, or choose"):
        run_folder.refuse_used(tmp_path / "run")


def test_a_result_alone_is_a_run(tmp_path: Path) -> None:
    run_folder.refuse_used(tmp_path)
    (tmp_path / "result.json").touch()
    with pytest.raises(ConfigError, match="holds a run already"):
        run_folder.refuse_used(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/run: cannot be made or written to: .* hydra\.run\.dir"):
        run_folder.lock(tmp_path / "file" / "run")
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(CheckpointError, match=r"checkpoints: cannot be written to: File exists"):
        run_folder.claim(tmp_path)


def test_a_disk_without_room_is_found_before_training(tmp_path: Path) -> None:
    run_folder.make_sure_of_room(tmp_path, 1000)
    with pytest.raises(CheckpointError, match=r"checkpoints need 1,000,000,000,000.0 MB, and the disk has"):
        run_folder.make_sure_of_room(tmp_path, 10**18)


def test_what_killed_writers_left_is_deleted(tmp_path: Path) -> None:
    run_folder.claim(tmp_path)
    left, own = (tmp_path / "checkpoints" / f".last.ckpt.123.{end}" for end in ("mlplab.tmp", "tmp"))
    left.write_bytes(b"half a checkpoint")
    own.write_bytes(b"a person's")
    run_folder.claim(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == [own]


def test_a_result_is_written_whole_or_not_at_all(
    tiny_run: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tiny_run.model_copy(update={"folder": tmp_path})

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", fail)
        with pytest.raises(CheckpointError, match=r"result\.json: cannot be written: disk full"):
            run_folder.complete(result)
    assert list(tmp_path.iterdir()) == []
    run_folder.complete(result)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_is_shown_as_a_person_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder.short(tmp_path / "outputs" / "run") == str(Path("outputs", "run"))
    assert run_folder.short(Path("/elsewhere/run")) == "/elsewhere/run"
