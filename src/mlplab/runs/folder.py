"""The folder of a run: one process at a time, its checkpoints, how it stands, and result.json when it is complete."""

import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from filelock import AcquireReturnProxy, Timeout

from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import atomic_write
from mlplab.runs import result as result_file

LAST = "last.ckpt"
LARGEST = 2**20  # bytes of what is read beside result.json and checkpoints
log = logging.getLogger(__name__)

State = Literal["running", "completed", "interrupted", "diverged", "failed"]

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
        at_work = read_status(folder) or {}
        who = f" (process {at_work['pid']} on {at_work.get('host')})" if "pid" in at_work else ""
        raise ConfigError(f"{short(folder)}: another process{who} is at work in it. Wait for it, or stop it.") from None
    except OSError as error:
        reason = f"{short(folder)}: cannot be made or written to: {error.strerror}."
        raise CheckpointError(f"{reason} Choose another hydra.run.dir.") from error
    _held[folder.resolve()] = held


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """`lock` for a while; for ever, if it was locked before."""
    before = folder.resolve() in _held
    lock(folder)
    try:
        yield
    finally:
        if not before:
            _held.pop(folder.resolve()).lock.release()


def refuse_others(folder: Path) -> None:
    """Refuse a folder, of a run or a sweep, in which there is something else: its files would be replaced.

    What a person has put beside a run that is there is no matter, but for pipes and the like in place of files.

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
    """Has a run or a sweep been here?"""
    made_by = (atomic_write.read(folder / name, LARGEST) or b"" for name in ("multirun.yaml", ".hydra/hydra.yaml"))
    return "pid" in (read_status(folder) or {}) or any(b"mlplab" in text for text in made_by)


def _is_empty(entry: os.DirEntry[str]) -> bool:
    """A lock, or a log without a line: all that there is before status.json."""
    return entry.name in (".lock", "train.log") and entry.is_file() and entry.stat().st_size == 0


def refuse_used(folder: Path) -> None:
    """Raises ConfigError if a run is in it."""
    if _checkpoints(folder).exists() or (folder / "result.json").exists():
        raise _used(folder)


def claim(folder: Path, again: bool = False) -> None:
    """Make the folder of the checkpoints; `again` for a run that goes on.

    Raises:
        ConfigError: if another run has it.
        CheckpointError: if it cannot be written to.
    """
    checkpoints = _checkpoints(folder)
    try:
        checkpoints.mkdir(parents=True, exist_ok=again)
        for place in (checkpoints, folder, folder / ".hydra"):
            atomic_write.clean(place)
    except FileExistsError:
        if again:
            raise CheckpointError(f"{checkpoints}: is a file, and should be a folder. Move it away.") from None
        raise _used(folder) from None
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
    """`name` is "best" or "last"."""
    return _checkpoints(folder) / f"{name}.ckpt"


def previous(path: Path) -> Path:
    """Where a checkpoint goes when the next one comes."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def choose_best(folder: Path) -> None:
    """Where nothing was validated, the last weights are the best."""
    best, last = checkpoint(folder, "best"), checkpoint(folder, "last")
    if not best.exists() and last.exists():
        write(best, last.read_bytes())


def best_weights(folder: Path) -> Path | None:
    """The best checkpoint, or None where none was wanted."""
    best = checkpoint(folder, "best")
    return best if best.is_file() else None


def find(path: Path) -> Path:
    """The checkpoint that a person means: the file itself, or the best one of a run folder.

    Raises:
        CheckpointError: if there is none.
    """
    give = "Give a run folder below outputs/, or a .ckpt file."
    try:
        if path.is_file():
            return path
        best = best_weights(path)
        if best is not None:
            return best
        if path.is_dir():
            runs = [folder.name for folder in path.iterdir() if best_weights(folder)]
            hint = f" Runs below it: {', '.join(sorted(runs)[:5])}" if runs else ""
            raise CheckpointError(f"{path}: no checkpoints/best.ckpt here. Give a run folder or a .ckpt file.{hint}")
        raise CheckpointError(f"{path}: {'not a file' if path.exists() else 'does not exist'}. {give}")
    except OSError as error:  # a name that is too long, or a folder that may not be searched
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}. {give}") from error


def folder_of(path: Path) -> Path:
    """That of the run, which a person may mean by one of its checkpoints."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def data_of(path: Path) -> tuple[str, Path] | None:
    """Name and folder of the data set of a complete run, or of its checkpoint; None where only torch can tell."""
    data = (read_result(folder_of(path)) or {}).get("config", {}).get("data")
    name, root = (data.get("name"), data.get("root")) if isinstance(data, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(root, str) or "${" in root:  # as earlier versions recorded it
        return None
    return name, Path(root)


def write(path: Path, content: bytes) -> None:
    """Raises CheckpointError if the disk does not take it."""
    try:
        atomic_write.write(path, content)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}. Make room, and go on with resume."
        ) from error


def write_result(folder: Path, content: Mapping[str, object]) -> None:
    """Write result.json, whole or not at all, and put away what only a run that is not complete needs."""
    write(folder / "result.json", _json(content))
    previous(checkpoint(folder, "last")).unlink(missing_ok=True)


read_result = result_file.read


def set_result_aside(folder: Path) -> None:
    """Keep what a run that is made longer had reached, or what of its result is damaged."""
    path, found = folder / "result.json", read_result(folder)
    if found is None and path.exists():
        log.warning(f"{short(path)}: damaged: {result_file.damage(folder)}; it is made again")
    if path.exists():
        reached = "damaged" if found is None else f"{found['epochs']}-epochs"
        path.replace(folder / f"result.{reached}.json")


def write_status(folder: Path, state: State, **details: object) -> None:
    """How the run stands, with the time of this sign of life; the versions that trained it are kept.

    A disk that is full is no reason to stop for it.
    """
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    kept = {"versions": (read_status(folder) or {}).get("versions", [])}
    status = {"status": state, "time": now, "pid": os.getpid(), "host": socket.gethostname(), **kept, **details}
    with suppress(OSError):
        atomic_write.write(folder / "status.json", _json(status), sync=False)


def read_status(folder: Path) -> dict[str, Any] | None:
    """None if it is missing or damaged."""
    status = _read(folder / "status.json") or {}
    kinds: dict[str, Any] = {
        "status": str,
        "pid": int,
        "versions": list,
        "epoch": int,
        "done": (int, float),
        "reason": str,
    }
    is_whole = "status" in status and all(isinstance(status[key], kinds[key]) for key in kinds.keys() & status.keys())
    return status if is_whole else None


def outcome(status: str, reason: str) -> str:
    """How a run ended, in words: `interrupted in epoch 4 of 150`, `failed: ZeroDivisionError: ...`."""
    for word in ("Interrupted", "Terminated", "The terminal was closed"):
        if reason.startswith(word):
            return f"interrupted{reason.removeprefix(word).rstrip('.')}"
    return f"{status}: {reason}"


def note_the_end(error: BaseException) -> None:
    """Of a process that has begun a run, and ends before the training, which notes its own."""
    for folder in _held:
        if (read_status(folder) or {}).get("status") == "running":
            state: State = "failed" if isinstance(error, Exception) else "interrupted"
            write_status(folder, state, reason=(str(error) or type(error).__name__).splitlines()[0])


def meant(path: Path) -> Path:
    """`path` itself, or for `last`, unless there is such a folder, the run that gave the last sign of life.

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
    """As a person would type it, on Windows too: no shell there needs its backslashes, and some take them away."""
    return (Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder).as_posix()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(atomic_write.read(path, LARGEST) or b"")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"


def _used(folder: Path) -> ConfigError:
    run = "a run" if (folder / "result.json").exists() else "an unfinished run"
    return ConfigError(
        f"{short(folder)}: holds {run} already. Resume it with resume={short(folder)}, or choose another hydra.run.dir."
    )
