"""The folder of a run: one process at a time, and where its checkpoints lie."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, Timeout

from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import atomic_write
from mlplab.runs.result import Pause, Result, as_json, damage, read_result, read_status, write_status

LAST = "last.ckpt"
LARGEST_MARK = 2**20  # bytes
log = logging.getLogger(__name__)

_held: dict[Path, AcquireReturnProxy[Any]] = {}


def lock(folder: Path) -> None:
    """Make a folder, and keep every other process out of it until this one ends.

    Raises:
        ConfigError: if another process is at work in it, or it holds what this project did not write.
        CheckpointError: if it cannot be made or written to.
    """
    if folder.resolve() in _held:
        return
    try:
        refuse_others(folder)
        folder.mkdir(parents=True, exist_ok=True)
        held = atomic_write.lock(folder / ".lock")
        room = folder / ".room.mlplab.tmp"
        atomic_write.write(room, bytes(2**16))  # for what Hydra writes next
        room.unlink()
    except Timeout:
        at_work = read_status(folder)
        who = f" (process {at_work.pid} on {at_work.host})" if at_work else ""
        raise ConfigError(f"{short(folder)}: another process{who} is at work in it. Wait for it, or stop it.") from None
    except OSError as error:
        reason = f"{short(folder)}: cannot be made or written to: {error.strerror}."
        raise CheckpointError(f"{reason} Choose another hydra.run.dir.") from error
    _held[folder.resolve()] = held


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `lock` within; a folder that was locked before stays so."""
    before = folder.resolve() in _held
    lock(folder)
    try:
        yield
    finally:
        if not before:
            _held.pop(folder.resolve()).lock.release()


def refuse_others(folder: Path) -> None:
    """Refuse a folder, of a run or a sweep, in which there is something else: its files would be replaced.

    Files of a person beside a run that is there stay, and are no obstacle; pipes in place of files are.

    Raises:
        ConfigError: if there is.
        OSError: if it cannot be looked into.
    """
    entries = list(os.scandir(folder)) if folder.is_dir() else []
    others = [entry.name for entry in entries if Path(entry).is_fifo() or Path(entry).is_socket()]
    if not _is_own(folder):
        fresh = {entry.name for entry in entries if entry.name.endswith((".lease", ".mlplab.tmp")) or _is_empty(entry)}
        others = [entry.name for entry in entries if entry.name not in fresh]
    if others:
        names = ", ".join([*sorted(others)[:5], *["..."][: len(others) - 5]])
        raise ConfigError(f"{short(folder)}: holds {names}, which is not of mlplab. Choose another folder, or move it.")


def _is_own(folder: Path) -> bool:
    """Tell whether a run or a sweep has been here."""
    made_by = (atomic_write.read(folder / name, LARGEST_MARK) or b"" for name in ("multirun.yaml", ".hydra/hydra.yaml"))
    return read_status(folder) is not None or any(b"mlplab" in text for text in made_by)


def _is_empty(entry: os.DirEntry[str]) -> bool:
    """Recognise a lock, or a log without a line: all that there is before status.json."""
    return entry.name in (".lock", "train.log") and entry.is_file() and entry.stat().st_size == 0


def refuse_used(folder: Path) -> None:
    """Raises ConfigError if a run is in it."""
    is_complete = (folder / "result.json").exists()
    if is_complete or _checkpoints(folder).exists():
        raise ConfigError(
            f"{short(folder)}: holds {'a run' if is_complete else 'an unfinished run'} already."
            f" Resume it with resume={short(folder)}, or choose another hydra.run.dir."
        )


def claim(folder: Path) -> None:
    """Make the folder of the checkpoints, without what killed writers left; the caller holds the lock of the run.

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
    """Raises CheckpointError if the disk has no room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{short(folder)}: checkpoints need {needed / 1e6:,.1f} MB, and the disk has {free / 1e6:,.1f} MB left.\n"
            "Make room, or choose another hydra.run.dir."
        )


def checkpoint(folder: Path, name: str) -> Path:
    """Path of a checkpoint; `name` is "best" or "last"."""
    return _checkpoints(folder) / f"{name}.ckpt"


def previous(path: Path) -> Path:
    """Path to which a checkpoint moves when the next one is written."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def choose_best(folder: Path) -> None:
    """Take the last weights for the best where nothing was validated."""
    best, last = checkpoint(folder, "best"), checkpoint(folder, "last")
    if not best.exists() and last.exists():
        write(best, last.read_bytes())


def best_weights(folder: Path) -> Path | None:
    """The best checkpoint, or None where none was wanted."""
    best = checkpoint(folder, "best")
    return best if best.is_file() else None


def find(path: Path) -> Path:
    """Find the checkpoint that a person means: the file itself, or the best one of a run folder.

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
    except OSError as error:  # a name that is too long, or a folder that may not be searched
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}. {give}") from error


def folder_of(path: Path) -> Path:
    """Folder of the run, which a person may mean by one of its checkpoints."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def data_of(path: Path) -> tuple[str, Path] | None:
    """Name and folder of the data set of a complete run, or of its checkpoint; None where the result does not say."""
    result = read_result(folder_of(path))
    data = result.config.get("data") if result else None
    name, root = (data.get("name"), data.get("root")) if isinstance(data, dict) else (None, None)
    return (name, Path(root)) if isinstance(name, str) and isinstance(root, str) else None


def write(path: Path, content: bytes) -> None:
    """Raises CheckpointError if the disk does not take it."""
    try:
        atomic_write.write(path, content)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}. Make room, then resume the run."
        ) from error


def complete(result: Result) -> None:
    """Write result.json last, and delete what only an unfinished run needs."""
    write(result.folder / "result.json", as_json(result))
    (result.folder / "paused.json").unlink(missing_ok=True)
    _drop_previous(result.folder)


def pause(folder: Path, reached: Pause) -> None:
    """Write paused.json; the checkpoint of the last epoch is on the disk."""
    write(folder / "paused.json", as_json(reached))
    _drop_previous(folder)


def _drop_previous(folder: Path) -> None:
    previous(checkpoint(folder, "last")).unlink(missing_ok=True)


def set_result_aside(folder: Path) -> None:
    """Keep the result of a run that is made longer, or a damaged one, under another name."""
    path, found = folder / "result.json", read_result(folder)
    if path.exists():
        if found is None:
            log.warning(f"{short(path)}: damaged: {damage(folder)}; it is made again")
        path.replace(folder / f"result.{'damaged' if found is None else f'{found.epochs}-epochs'}.json")


def note_the_end(error: BaseException) -> None:
    """Note why a process ends that has begun a run; training notes its own end before."""
    for folder in _held:
        found = read_status(folder)
        if found is not None and found.status == "running":
            write_status(folder, "failed" if isinstance(error, Exception) else "interrupted", first_line(error))


def first_line(error: BaseException) -> str:
    """The reason of an end, for status.json."""
    return (str(error) or type(error).__name__).splitlines()[0]


def meant(path: Path) -> Path:
    """Resolve `last`, unless there is such a folder, to the run that gave the last sign of life.

    Raises:
        CheckpointError: if there is no run below outputs/.
    """
    if path != Path("last") or path.exists():
        return path
    signs = [*Path("outputs").glob("*/*/status.json"), *Path("outputs/sweeps").glob("*/*/status.json")]
    if not signs:
        raise CheckpointError("last: there is no run below outputs/ in this folder yet.")
    return max(signs, key=lambda sign: sign.stat().st_mtime_ns).parent


def short(folder: Path) -> str:
    """Path as a person types it, from the working folder if it is below; with slashes, which Windows understands."""
    return (Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder).as_posix()


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"
