import errno
import os
import subprocess
import sys
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


def _locked_by_another_process(folder: Path) -> subprocess.Popen[str]:
    """Start a process that locks the folder, and return when it has the lock."""
    code = f"""
from pathlib import Path
from mlplab.runs import folder as run_folder
from mlplab.runs.result import write_status
folder = Path({str(folder)!r})
run_folder.lock(folder)
write_status(folder, "running")
print("locked", flush=True)
input()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_folder_in_use_is_refused_until_the_other_process_is_gone(tmp_path: Path) -> None:
    with run_folder.locked(tmp_path), run_folder.locked(tmp_path):
        pass
    with _locked_by_another_process(tmp_path) as process:
        with pytest.raises(ConfigError, match=rf"another process \(process {process.pid} on .*\) is using it"):
            run_folder.lock(tmp_path)
        process.kill()
    with run_folder.locked(tmp_path):
        pass


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


@pytest.mark.parametrize("names", [["last"], ["last", "best"]])
def test_the_best_weights_without_validation_are_the_last(tmp_path: Path, names: list[str]) -> None:
    run_folder.claim(tmp_path)
    assert run_folder.best_weights(tmp_path) is None
    for name in names:
        run_folder.checkpoint(tmp_path, name).write_text(name)
    run_folder.choose_best(tmp_path)
    best = run_folder.best_weights(tmp_path)
    assert best == tmp_path / "checkpoints" / "best.ckpt"
    assert best.read_text() == names[-1]


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
