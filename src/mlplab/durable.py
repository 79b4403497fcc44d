"""Files that survive a kill, a crash and a flipped bit: replaced as a whole, on the disk before they count, sealed."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

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
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def clean(folder: Path) -> None:
    """Delete what writers that were killed have left. For one who holds the lock of the run."""
    for partial in folder.glob(".*.tmp"):
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
    spare = previous.with_name(f".{previous.name}.{os.getpid()}.tmp")
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
