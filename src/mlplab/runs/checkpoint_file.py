"""Checkpoint files: written one after the other in a separate thread, and read as untrusted files.

Threat model. A checkpoint may be torn by a crash during a write, damaged on disk, from another program or run, or made
to run code.

- Torn writes: a file is replaced as a whole, once the new one is on disk.
- Damage: all tensors are checked against the zip file's CRC-32, and the previous checkpoint is kept.
- Foreign files: kind and size are checked before anything is read, and names and shapes of weights must match the
  network (`load_state_dict(strict=True)`).
- Code: torch reads with `weights_only=True`, which allows only tensors and plain values.

Files made to waste memory or time are out of scope: they can be deleted.
"""

import io
import pickle
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder

HELD = "held"
# Files often mistaken for checkpoints, by their first bytes, or by a file within.
OTHER_FILES = {
    b"\x89HDF": "a model of Keras",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"{": "a JSON file",
}
OTHER_ARCHIVES = {"model.weights.h5": "a model of Keras", "constants.pkl": "a TorchScript archive, which contains code"}
WAY_OUT = "Give another checkpoint of the run (checkpoints/best.ckpt, checkpoints/last.ckpt), or train again."


class DurableCheckpointIO(CheckpointIO):
    """Writes files in a thread, in the order in which they were given.

    A waiting checkpoint is dropped when a newer one for the same file arrives, so that a slow disk does not delay
    training. A failure raises CheckpointError at the next write, or in `teardown`.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, bytes] | None = None
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writes: list[tuple[Path, Future[None]]] = []  # writes not yet known to have succeeded

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Copy `checkpoint` now, and write it later: with `storage_options=HELD` only after `release`."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        if storage_options == HELD:
            self._held = Path(path), buffer.getvalue()
        else:
            self._write(Path(path), buffer.getvalue())

    def release(self) -> None:
        """Write the held checkpoint, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self._write(*held)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        return read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)

    def teardown(self) -> None:
        """Block until everything is on the disk."""
        while self._writes:
            self._writes.pop(0)[1].result()

    def _write(self, path: Path, content: bytes) -> None:
        while self._writes and self._writes[0][1].done():
            self._writes.pop(0)[1].result()
        # In order: a last.ckpt that refers to a new best one must not be written before it.
        self._writes = [(other, future) for other, future in self._writes if other != path or not future.cancel()]
        self._writes.append((path, self._thread.submit(_write, path, content)))


def _write(path: Path, content: bytes) -> None:
    try:
        atomic_write.write(path, content, run_folder.previous(path) if path.name == run_folder.LAST else None)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}.\n"
            "Free some space, or make the folder writable; earlier checkpoints are kept."
        ) from error


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors on the CPU and plain values.

    Raises:
        CheckpointError: if it is missing, damaged, or holds anything else.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("not a file" if path.exists() else "does not exist")
        _require_whole(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:  # torch's message advises disabling the check
        raise CheckpointError(
            f"{path}: holds Python objects, which can run code; only tensors and plain values are read.\n"
            "Give a checkpoint written by train.py."
        ) from error
    except Exception as error:  # damaged files can raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(f"{path}: truncated, damaged or not a checkpoint: {reason}\n{WAY_OUT}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: not a checkpoint: holds a {type(loaded).__name__}. {WAY_OUT}")
    return loaded


def _require_whole(path: Path) -> None:
    """Refuse other kinds of files, and those with wrong checksums, which torch.load does not verify."""
    with path.open("rb") as file:
        start = file.read(16)
    kind = next((kind for mark, kind in OTHER_FILES.items() if start.startswith(mark)), None)
    if kind is None:
        with zipfile.ZipFile(path) as archive:
            names = {PurePosixPath(name).name for name in archive.namelist()}
            kind = next((kind for name, kind in OTHER_ARCHIVES.items() if name in names), None)
            if kind is None and (damaged := archive.testzip()):
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
    if kind is not None:
        raise CheckpointError(f"{path}: this is {kind}. Give a run folder, or a .ckpt file written by train.py.")
