"""Files that survive a kill, a crash and a flipped bit: replaced as a whole, on the disk before they count, sealed."""

import _thread
import errno
import hashlib
import os
import re
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, SoftFileLease

from mlplab.errors import ConfigError

LEASE_S = 30.0  # after which a lock that is not renewed is another's to take, where the file system has no flock
_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_PARTIAL = ".mlplab.tmp"

# How pictures and tables of this project begin; before pictures had a mark, all were of one width and resolution.
_OWN = re.compile(
    rb"\x89PNG.{33}tEXtSoftware\0mlplab"
    rb"|\x89PNG.{12}\x00\x00\x04\x65.{4}\x08\x02.{11}pHYs\x00\x00\x17\x12\x00\x00\x17\x12"
    rb"|# Report of [^\n]*\n\n(\| rank |No run is complete)"
    rb"|# Results\n\n\| recipe \|"
    rb"|rank,.*val_acc_mean,val_acc_sd,"
    rb"|recipe,title,n,test_acc_mean,"
    rb"|folder,status,",
    re.DOTALL,
)

# A seal is the last of a zip file's comment, so that the file remains one that torch.load reads.
_PREFIX = b"sha256:"
_SEAL_SIZE = len(_PREFIX) + 64
WAITS_S = (0.01, 0.1, 1.0)  # for those who read a file that is to be replaced
_END_OF_ZIP, _END_SIZE = b"PK\x05\x06", 22  # APPNOTE.TXT of PKWARE, 4.3.16


def write(path: Path, content: bytes, previous: Path | None = None, sync: bool = True) -> None:
    """Put `content` in place of a file; whoever reads finds the old file or the new one, never a part.

    Args:
        path: the file.
        content: all of it.
        previous: where the old file goes, which until then stays where it is.
        sync: wait until the disk has it, for files that must outlast a crash of the machine.

    Raises:
        OSError: if it cannot be written; the old file is then still there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if previous is not None and path.exists():
            _keep(path, previous)
        _replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if sync:
        _sync_folder(path.parent)


def write_own(contents: Mapping[Path, bytes]) -> None:
    """Write pictures and tables in place of those that this project wrote, and of nothing else.

    Raises:
        ConfigError: if one of them would replace another file; then nothing is written.
        OSError: if one cannot be written.
    """
    found = [path for path in contents if os.path.lexists(path) and not path.is_dir()]  # a folder is never replaced
    others = [path for path in found if not _OWN.match(read(path, 2**16, cut=True) or b"")]
    if others:
        names = ", ".join(path.name for path in others)
        raise ConfigError(
            f"{others[0].parent}: holds {names}, which mlplab did not write and does not replace. Move it."
        )
    for path, content in contents.items():
        write(path, content, sync=False)


def read(path: Path, most: int, cut: bool = False) -> bytes | None:
    """A file of at most so many bytes, or, if `cut`, the first of them; None if it is missing, larger, or no file."""
    try:
        if not path.is_file() or (path.stat().st_size > most and not cut):
            return None
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return None


def lock(path: Path, timeout: float = 0) -> AcquireReturnProxy[Any]:
    """Take a lock, which the system takes back from a process that dies, however it does.

    Where the file system knows no such locks, it is one that has to be renewed, by a thread of this process, and it
    takes LEASE_S to see that it is not. A `timeout` of -1 waits for ever.

    Raises:
        TimeoutError: if another process has it.
        OSError: if the file cannot be written.
    """
    try:
        return FileLock(path, fallback_to_soft=False).acquire(timeout)
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
    lost = lambda _: _thread.interrupt_main(signal.SIGTERM)  # noqa: E731  # another process has it now
    lease = SoftFileLease(path.with_suffix(".lease"), lease_duration=LEASE_S, on_compromise=lost)
    return lease.acquire(timeout if timeout < 0 else LEASE_S + 5)


def clean(folder: Path) -> None:
    """Delete what writers that were killed have left. For one who holds the lock of the run."""
    for partial in folder.glob(f".*{_PARTIAL}"):
        with suppress(OSError):
            partial.unlink()


def sealed(content: bytes | memoryview) -> bytes:
    """A zip file without comment, with its checksum as the comment."""
    body = bytes(content[:-2]) + _SEAL_SIZE.to_bytes(2, "little") + _PREFIX
    return body + hashlib.sha256(body).hexdigest().encode()


def is_whole(content: bytes) -> bool | None:
    """Does the seal fit? None where there is no seal, as in a file that torch.save wrote by itself.

    Raises:
        ValueError: if the end of the file is neither.
    """
    body, digest = content[:-64], content[-64:]
    if body.endswith(_PREFIX):
        return hashlib.sha256(body).hexdigest().encode() == digest
    if content[-_END_SIZE:].startswith(_END_OF_ZIP):
        return None
    raise ValueError("the end is missing or damaged")


def sync(path: Path) -> None:
    """Wait until the disk has a file that somebody else has written."""
    with path.open("rb+") as file:  # Windows does it for those who may write
        os.fsync(file.fileno())


def _keep(path: Path, previous: Path) -> None:
    """Give a file a second name, so that it is never without its first."""
    spare = previous.with_name(f".{previous.name}.{os.getpid()}{_PARTIAL}")
    try:
        os.link(path, spare)
        _replace(spare, previous)
        spare.unlink(missing_ok=True)  # it stays if both were one file already, as after a kill between these lines
    except OSError:  # a file system without links
        _replace(path, previous)


def _replace(path: Path, target: Path) -> None:
    """Windows refuses while anybody has one of them open: a report that reads it, a virus scanner."""
    for wait_s in WAITS_S:
        with suppress(PermissionError):
            path.replace(target)
            return
        time.sleep(wait_s)
    path.replace(target)


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is."""
    with suppress(OSError):  # Windows cannot open a folder, and some network file systems do not know it
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
