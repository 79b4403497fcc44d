"""The folder of a run: the paths of its files, and how it ends."""

import logging
import os
from pathlib import Path

from mlplab.config.datasets import key_of
from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write
from mlplab.runs.result import Pause, Result, as_json, damage, read_result

LAST = "last.ckpt"
log = logging.getLogger(__name__)


def checkpoint(folder: Path, name: str) -> Path:
    """Return the path of a checkpoint; `name` is "best" or "last"."""
    return folder / "checkpoints" / f"{name}.ckpt"


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
