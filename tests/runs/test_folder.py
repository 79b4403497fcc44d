import errno
import os
from pathlib import Path

import pytest

from mlplab.errors import CheckpointError
from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result


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
