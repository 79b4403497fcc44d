import errno
import fcntl
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from waiting import Process

from mlplab.errors import ConfigError
from mlplab.plots import canvas
from mlplab.runs import atomic_write


def test_a_kill_between_two_renames_leaves_nothing_behind(tmp_path: Path) -> None:
    """At this point the last file and the previous one are one file with two names."""
    path, previous = tmp_path / "last.ckpt", tmp_path / "last.previous.ckpt"
    atomic_write.write(path, b"1")
    os.link(path, previous)
    atomic_write.write(path, b"2", previous)
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
    atomic_write.write(path, b"1", previous)
    atomic_write.write(path, b"2", previous)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="no"):
            atomic_write.write(path, b"3", previous)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: b"2", previous.name: b"1"}


def test_who_reads_a_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to replace a file that another process has open."""
    path, replace, readers = tmp_path / "status.json", os.replace, 2

    def refused(source: Path, target: Path) -> None:
        nonlocal readers
        readers -= 1
        if readers >= 0:
            raise PermissionError(13, "used by another process", str(source))
        replace(source, target)

    atomic_write.write(path, b"1")
    monkeypatch.setattr(os, "replace", refused)
    atomic_write.write(path, b"2")
    assert path.read_bytes() == b"2"

    readers = 100
    with pytest.raises(PermissionError):
        atomic_write.write(path, b"3")
    assert path.read_bytes() == b"2"
    assert list(tmp_path.iterdir()) == [path]


def test_only_own_pictures_and_tables_are_replaced(tmp_path: Path) -> None:
    picture, table, text = (tmp_path / name for name in ("curves.png", "runs.csv", "report.md"))
    own = {picture: canvas.png(canvas.figure(1.0)), table: b"folder,status,seed\n", text: b"# Report of x\n\n| rank |"}
    atomic_write.write_own(own)
    atomic_write.write_own(own)
    of_a_person = io.BytesIO()
    Image.new("RGB", (40, 30)).save(of_a_person, "png")
    for path, content in {picture: of_a_person.getvalue(), table: b"a,b\n", text: b"# Report of my own\n"}.items():
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=rf"holds {path.name}, which mlplab did not write") as caught:
            atomic_write.write_own({tmp_path / "new.png": b"", **own})
        assert len(str(caught.value).splitlines()) == 1
        assert path.read_bytes() == content
        assert not (tmp_path / "new.png").exists()
        path.write_bytes(own[path])


def test_without_flock_the_lock_of_a_killed_process_on_another_machine_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with another host name stands for the other machine."""
    lease_s = 4.0  # a process that lives renews it three times in this time, on a busy machine less often
    script = f"""
import errno, fcntl, socket
def no_flock(*_): raise OSError(errno.ENOSYS, "no flock")
fcntl.flock = no_flock
socket.gethostname = lambda: "elsewhere"
from pathlib import Path
from mlplab.runs import atomic_write
atomic_write.LEASE_S = {lease_s}
held = atomic_write.lock(Path({str(tmp_path / ".lock")!r}))
print("locked", flush=True)
input()
"""

    _without_flock(monkeypatch, errno.ENOSYS)
    monkeypatch.setattr(atomic_write, "LEASE_S", lease_s)
    monkeypatch.setattr(atomic_write, "WAIT_S", lease_s + 1)
    with Process([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(TimeoutError):
            atomic_write.lock(tmp_path / ".lock")
        process.kill()
        process.wait()
        with atomic_write.lock(tmp_path / ".lock"):
            pass


@pytest.mark.parametrize("missing", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_flock_there_is_a_lock_all_the_same(
    tmp_path: Path, missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_flock(monkeypatch, missing)
    with atomic_write.lock(tmp_path / ".lock"):
        assert (tmp_path / ".lock.lease").exists()
    assert not (tmp_path / ".lock.lease").exists()


def _without_flock(monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    def no_flock(*_: object) -> None:
        raise OSError(missing, "no flock")

    monkeypatch.setattr(fcntl, "flock", no_flock)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: None])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "result.json")
    assert atomic_write.read(tmp_path / "result.json", 10) is None


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    assert atomic_write.read(tmp_path / "file", 10) is None
    assert atomic_write.read(tmp_path / "file", 10, cut=True) == bytes(10)
