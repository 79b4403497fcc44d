"""Files that survive a kill or a crash: replaced as a whole, and only once they are on disk."""

import _thread
import errno
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, SoftFileLease

from mlplab.errors import ConfigError

LEASE_S = 30.0  # after which others may take a lock that is not renewed, on file systems without flock
WAIT_S = 35.0  # for such a lock
_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_PARTIAL = ".mlplab.tmp"

# First bytes of pictures, tables, pages and exported networks of this project.
_OWN = re.compile(
    rb"\x89PNG.{33}tEXtSoftware\0mlplab"
    rb"|# Report of [^\n]*\n\n(\| rank |No run is complete|## (Winner|Best draw so far|Rungs)\n)"
    rb"|# Results\n\n\| recipe \|"
    rb"|rank,.*val_acc_mean,val_acc_sd,"
    rb"|recipe,title,n,test_acc_mean,"
    rb"|folder,status,"
    rb"|number,true,answer,"
    rb"|\x08.\x12\x06mlplab"  # ONNX
    rb"|PK\x03\x04.{26}mlplab"  # torch.export, and arrays of numpy
    rb"|# Exported by mlplab"
    rb"|<!DOCTYPE html>\n<!-- mlplab ",
    re.DOTALL,
)

WAITS_S = (0.01, 0.1, 1.0)  # for readers of a file that is to be replaced


def write(path: Path, content: bytes, previous: Path | None = None, sync: bool = True) -> None:
    """Replace a file by `content`; a reader finds the old file or the new one, never a part.

    Args:
        path: the file.
        content: the whole content.
        previous: path for the old file, which is moved there only when the new one is complete.
        sync: wait until it is on disk, for files that must survive a crash of the machine.

    Raises:
        OSError: if it cannot be written; then the old file is kept.
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
    """Write pictures and tables, replacing only those that this project wrote.

    Raises:
        ConfigError: if one of them would replace another file; then nothing is written.
        OSError: if one cannot be written.
    """
    require_own(contents)
    for path, content in contents.items():
        write(path, content, sync=False)


def require_place(option: str, paths: Sequence[Path]) -> None:
    """Refuse files named by an option to which `write_own` cannot write, before they are computed.

    Raises:
        ConfigError: for a folder, a file in a missing folder, or a file that this project did not write.
    """
    for path in paths:
        if path.is_dir():
            raise ConfigError(f"{option}: {path} is a folder. Give a file.")
        if not path.parent.is_dir():
            raise ConfigError(f"{option}: there is no folder {path.parent}.")
    require_own(paths)


def require_own(paths: Iterable[Path]) -> None:
    """Raises ConfigError if `write_own` would replace a file that this project did not write."""
    found = [path for path in paths if os.path.lexists(path) and not path.is_dir()]  # a folder is never replaced
    others = [path for path in found if not _OWN.match(read(path, 2**16, cut=True) or b"")]
    if others:
        names = ", ".join(path.name for path in others)
        raise ConfigError(
            f"{others[0].parent}: holds {names}, which mlplab did not write and will not replace. Move it."
        )


def read(path: Path, most: int, cut: bool = False) -> bytes | None:
    """Read at most `most` bytes of a file; None if it is missing, not a file, or larger and `cut` is false."""
    try:
        if not path.is_file() or (path.stat().st_size > most and not cut):
            return None
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return None


def lock(path: Path, timeout: float = 0) -> AcquireReturnProxy[Any]:
    """Take a lock, which the system releases when its process dies.

    On file systems without such locks, a thread of this process renews a lease, which others may take LEASE_S after its
    last renewal. A `timeout` of -1 waits forever.

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
    return lease.acquire(timeout if timeout < 0 else WAIT_S)


def clean(folder: Path) -> None:
    """Delete partial files of killed writers; the caller must hold the lock of the run."""
    for partial in folder.glob(f".*{_PARTIAL}"):
        with suppress(OSError):
            partial.unlink()


def sync(path: Path) -> None:
    """Wait until a file that another process wrote is on disk."""
    with path.open("rb+") as file:  # Windows requires write permission
        os.fsync(file.fileno())


def _keep(path: Path, previous: Path) -> None:
    """Give a file a second name, while it keeps its first."""
    spare = previous.with_name(f".{previous.name}.{os.getpid()}{_PARTIAL}")
    try:
        os.link(path, spare)
        _replace(spare, previous)
        spare.unlink(missing_ok=True)  # it remains if both names were one file, as after a kill at this point
    except OSError:  # a file system without links
        _replace(path, previous)


def _replace(path: Path, target: Path) -> None:
    """Replace a file; Windows refuses while another process reads it, so it is tried again."""
    for wait_s in WAITS_S:
        with suppress(PermissionError):
            path.replace(target)
            return
        time.sleep(wait_s)
    path.replace(target)


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that new names in it are on disk."""
    with suppress(OSError):  # not possible on Windows and some network file systems
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
