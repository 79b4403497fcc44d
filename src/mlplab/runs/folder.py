"""The folder of a run: its lock, and the paths of its checkpoints."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, Timeout

from mlplab.config.datasets import key_of
from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import atomic_write
from mlplab.runs.result import Pause, Result, as_json, damage, read_result, read_status, write_status

LAST = "last.ckpt"
LARGEST_MARK = 2**20  # bytes
log = logging.getLogger(__name__)

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
    if is_complete or _checkpoints(folder).exists():
        raise ConfigError(
            f"{short(folder)}: holds {'a run' if is_complete else 'an unfinished run'} already."
            f" Resume it with resume={short(folder)}, or choose another hydra.run.dir."
        )


def claim(folder: Path) -> None:
    """Create the checkpoint folder and delete files of killed writers; the caller must hold the lock of the run.

    Raises:
        CheckpointError: if it cannot be written to.
    """
    checkpoints = _checkpoints(folder)
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


def checkpoint(folder: Path, name: str) -> Path:
    """Return the path of a checkpoint; `name` is "best" or "last"."""
    return _checkpoints(folder) / f"{name}.ckpt"


def previous(path: Path) -> Path:
    """Return the path to which a checkpoint is moved when the next one is written."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def choose_best(folder: Path) -> None:
    """Use the last weights as the best ones if there was no validation."""
    best, last = checkpoint(folder, "best"), checkpoint(folder, "last")
    if not best.exists() and last.exists():
        write(best, last.read_bytes())


def best_weights(folder: Path) -> Path | None:
    """Return the best checkpoint, or None if checkpoints are disabled."""
    best = checkpoint(folder, "best")
    return best if best.is_file() else None


def find(path: Path) -> Path:
    """Find the checkpoint at a given path: the file itself, or the best one of a run folder.

    Raises:
        CheckpointError: if there is none.
    """
    give = "Give a run folder below outputs/, or a .ckpt file."
    try:
        if path.is_file():
            return path
        if (best := best_weights(path)) is not None:
            return best
        if path.is_dir():
            runs = [folder.name for folder in path.iterdir() if best_weights(folder)]
            hint = f" Runs below it: {', '.join(sorted(runs)[:5])}" if runs else ""
            raise CheckpointError(f"{path}: no checkpoints/best.ckpt here. Give a run folder or a .ckpt file.{hint}")
        raise CheckpointError(f"{path}: {'not a file' if path.exists() else 'does not exist'}. {give}")
    except OSError as error:  # a name that is too long, or a folder without permission
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}. {give}") from error


def folder_of(path: Path) -> Path:
    """Return the folder of a run, given as the folder or one of its checkpoints."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def file_of(path: Path, name: str) -> Path:
    """Return the path of a picture or another file about these weights: NAME for best.ckpt, STEM_NAME otherwise."""
    weights = find(path).stem
    return folder_of(path) / (name if weights == "best" else f"{weights}_{name}")


def data_of(path: Path) -> tuple[str, Path] | None:
    """Return key and folder of the data set of a complete run or its checkpoint; None if the result lacks them."""
    result = read_result(folder_of(path))
    data = result.config.get("data") if result else None
    name, split, root = (data.get(key) for key in ("name", "split", "root")) if isinstance(data, dict) else [None] * 3
    if not (isinstance(name, str) and isinstance(root, str)):
        return None
    return key_of(name, split if isinstance(split, str) else None), Path(root)


def write(path: Path, content: bytes) -> None:
    """Write a file of the run; raises CheckpointError if that fails."""
    try:
        atomic_write.write(path, content)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}. Free some space, then resume the run."
        ) from error


def complete(result: Result) -> None:
    """Write result.json, and then delete what only an unfinished run needs."""
    write(result.folder / "result.json", as_json(result))
    (result.folder / "paused.json").unlink(missing_ok=True)
    _drop_previous(result.folder)


def pause(folder: Path, reached: Pause) -> None:
    """Write paused.json; the checkpoint of the last epoch must be on disk."""
    write(folder / "paused.json", as_json(reached))
    _drop_previous(folder)


def _drop_previous(folder: Path) -> None:
    previous(checkpoint(folder, "last")).unlink(missing_ok=True)


def set_result_aside(folder: Path) -> None:
    """Rename the result of a run that is extended, or a damaged result."""
    path, found = folder / "result.json", read_result(folder)
    if path.exists():
        if found is None:
            log.warning(f"{short(path)}: damaged: {damage(folder)}; it is written again")
        path.replace(folder / f"result.{'damaged' if found is None else f'{found.epochs}-epochs'}.json")


def note_the_end(error: BaseException) -> None:
    """Record why the process ends, if it has begun a run and training has not recorded its own end."""
    for folder in _held:
        found = read_status(folder)
        if found is not None and found.status == "running":
            write_status(folder, "failed" if isinstance(error, Exception) else "interrupted", first_line(error))


def first_line(error: BaseException) -> str:
    """Return the first line of the reason of an end, for status.json."""
    return (str(error) or type(error).__name__).splitlines()[0]


def meant(path: Path) -> Path:
    """Resolve `last`, unless a folder has this name, to the run with the latest sign of life.

    Raises:
        CheckpointError: if there is no run below outputs/.
    """
    if path != Path("last") or path.exists():
        return path
    signs = [*Path("outputs").glob("*/*/status.json"), *Path("outputs/sweeps").glob("*/*/status.json")]
    if not signs:
        raise CheckpointError("last: there is no run below outputs/ yet.")
    return max(signs, key=lambda sign: sign.stat().st_mtime_ns).parent


def short(folder: Path) -> str:
    """Format a path as typed: relative if below the working folder, and with slashes, which Windows accepts."""
    return (Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder).as_posix()


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"
