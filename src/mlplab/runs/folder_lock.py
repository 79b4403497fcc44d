"""The lock of a folder, and checks that it holds nothing else and that the disk has room."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, Timeout

from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import atomic_write
from mlplab.runs.folder import checkpoint, first_line, short
from mlplab.runs.result import read_status, write_status

LARGEST_MARK = 2**20  # bytes
_held: dict[Path, AcquireReturnProxy[Any]] = {}


def lock(folder: Path) -> None:
    """Create a folder, and keep other processes out of it until this one ends.

    Raises:
        ConfigError: if another process is using it, or it holds files that this project did not write.
        CheckpointError: if it cannot be created or written to.
    """
    if folder.resolve() in _held:
        return
    try:
        refuse_others(folder)
        folder.mkdir(parents=True, exist_ok=True)
        held = atomic_write.lock(folder / ".lock")
        room = folder / ".room.mlplab.tmp"
        atomic_write.write(room, bytes(2**16))  # for Hydra's files
        room.unlink()
    except Timeout:
        at_work = read_status(folder)
        who = f" (process {at_work.pid} on {at_work.host})" if at_work else ""
        raise ConfigError(f"{short(folder)}: another process{who} is using it. Wait for it, or stop it.") from None
    except OSError as error:
        reason = f"{short(folder)}: cannot be made or written to: {error.strerror}."
        raise CheckpointError(f"{reason} Choose another hydra.run.dir.") from error
    _held[folder.resolve()] = held


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `lock` within the context; a folder that was already locked stays locked."""
    before = folder.resolve() in _held
    lock(folder)
    try:
        yield
    finally:
        if not before:
            _held.pop(folder.resolve()).lock.release()


def refuse_others(folder: Path) -> None:
    """Refuse a folder for a run or a sweep if it holds other files, which could be replaced.

    The user's files beside an existing run are allowed and kept; pipes in place of files are refused.

    Raises:
        ConfigError: if the folder is refused.
        OSError: if it cannot be read.
    """
    entries = list(os.scandir(folder)) if folder.is_dir() else []
    others = [entry.name for entry in entries if Path(entry).is_fifo() or Path(entry).is_socket()]
    if not _is_own(folder):
        fresh = {entry.name for entry in entries if entry.name.endswith((".lease", ".mlplab.tmp")) or _is_empty(entry)}
        others = [entry.name for entry in entries if entry.name not in fresh]
    if others:
        names = ", ".join([*sorted(others)[:5], *["..."][: len(others) - 5]])
        raise ConfigError(
            f"{short(folder)}: holds {names}, which mlplab did not write. Choose another folder, or move it."
        )


def _is_own(folder: Path) -> bool:
    """Tell whether the folder belongs to a run or a sweep."""
    made_by = (atomic_write.read(folder / name, LARGEST_MARK) or b"" for name in ("multirun.yaml", ".hydra/hydra.yaml"))
    return read_status(folder) is not None or any(b"mlplab" in text for text in made_by)


def _is_empty(entry: os.DirEntry[str]) -> bool:
    """Tell whether there is only a lock or an empty log, as before status.json is written."""
    return entry.name in (".lock", "train.log") and entry.is_file() and entry.stat().st_size == 0


def refuse_used(folder: Path) -> None:
    """Raises ConfigError if the folder holds a run."""
    is_complete = (folder / "result.json").exists()
    if is_complete or checkpoint(folder, "last").parent.exists():
        raise ConfigError(
            f"{short(folder)}: holds {'a run' if is_complete else 'an unfinished run'} already."
            f" Resume it with resume={short(folder)}, or choose another hydra.run.dir."
        )


def claim(folder: Path) -> None:
    """Create the checkpoint folder and delete files of killed writers; the caller must hold the lock of the run.

    Raises:
        CheckpointError: if it cannot be written to.
    """
    checkpoints = checkpoint(folder, "last").parent
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        for place in (checkpoints, folder, folder / ".hydra"):
            atomic_write.clean(place)
    except OSError as error:
        raise CheckpointError(
            f"{checkpoints}: cannot be written to: {error.strerror}. Choose another folder."
        ) from error


def make_sure_of_room(folder: Path, needed: int) -> None:
    """Raises CheckpointError if the disk has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{short(folder)}: checkpoints need {needed / 1e6:,.1f} MB, and the disk has {free / 1e6:,.1f} MB left.\n"
            "Free some space, or choose another hydra.run.dir."
        )


def note_the_end(error: BaseException) -> None:
    """Record why the process ends, if it has begun a run and training has not recorded its own end."""
    for folder in _held:
        found = read_status(folder)
        if found is not None and found.status == "running":
            write_status(folder, "failed" if isinstance(error, Exception) else "interrupted", first_line(error))
