"""The folder of a run: one process at a time, its checkpoints, how it stands, and result.json when it is complete."""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from mlplab import durable
from mlplab.errors import CheckpointError, ConfigError

LAST = "last.ckpt"
State = Literal["running", "completed", "interrupted", "diverged", "failed"]

# The system takes a lock away from a process that dies, however it does.
_held: dict[Path, FileLock] = {}


def lock(folder: Path) -> None:
    """Make a folder, and keep every other process out of it until this one ends.

    Raises:
        ConfigError: if another process is at work in it.
        CheckpointError: if it cannot be made or written to.
    """
    if folder.resolve() in _held:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock")
        held.acquire(timeout=0)
        room = folder / ".room.tmp"
        durable.write(room, bytes(2**16))  # for what Hydra writes next
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
            _held.pop(folder.resolve()).release()


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
            durable.clean(place)
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


def write(path: Path, content: bytes) -> None:
    """Raises CheckpointError if the disk does not take it."""
    try:
        durable.write(path, content)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}. Make room, and go on with resume."
        ) from error


def write_result(folder: Path, result: Mapping[str, object]) -> None:
    """Write result.json, whole or not at all, and put away what only a run that is not complete needs."""
    write(folder / "result.json", _json(result))
    previous(checkpoint(folder, "last")).unlink(missing_ok=True)


def read_result(folder: Path) -> dict[str, Any] | None:
    """None if the run is not complete, or the file is damaged."""
    result = _read(folder / "result.json") or {}
    metrics = result.get("metrics")
    acc = metrics.get("test/acc") if isinstance(metrics, dict) else None
    epochs = [result.get("epochs"), result.get("max_epochs", 0)]
    figures = [acc, result.get("score", 0.0), result.get("total_s", 0.0)]
    is_whole = all(isinstance(number, int) for number in epochs) and all(isinstance(n, float | int) for n in figures)
    return result if is_whole and isinstance(result.get("config_hash", ""), str) else None


def set_result_aside(folder: Path) -> None:
    """Of a run that is made longer: it is not complete any more, but what it had reached is not lost."""
    result = read_result(folder)
    if result is not None:
        (folder / "result.json").replace(folder / f"result.{result['epochs']}-epochs.json")
    (folder / "result.json").unlink(missing_ok=True)


def write_status(folder: Path, state: State, **details: object) -> None:
    """How the run stands, with the time of this sign of life; the versions that trained it are kept.

    A disk that is full is no reason to stop for it.
    """
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    kept = {"versions": (read_status(folder) or {}).get("versions", [])}
    status = {"status": state, "time": now, "pid": os.getpid(), "host": socket.gethostname(), **kept, **details}
    with suppress(OSError):
        durable.write(folder / "status.json", _json(status), sync=False)


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
    for word in ("Interrupted", "Terminated"):
        if reason.startswith(word):
            return f"interrupted{reason.removeprefix(word).rstrip('.')}"
    return f"{status}: {reason}"


def short(folder: Path) -> str:
    """As a person would type it, on Windows too: no shell there needs its backslashes, and some take them away."""
    return (Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder).as_posix()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"


def _used(folder: Path) -> ConfigError:
    run = "a run" if (folder / "result.json").exists() else "an unfinished run"
    return ConfigError(
        f"{short(folder)}: holds {run} already. Go on with resume={short(folder)}, or choose another hydra.run.dir."
    )
