"""Checkpoint files: written beside the training, one after the other, and read with suspicion.

Threat model. A checkpoint may be torn by a crash while it is written, damaged on its disk, a file of another program or
another run, or made by somebody who wants to run code. Against a torn write, a file is replaced as a whole once the
disk has the new one. Against damage, every byte of its tensors is compared with the zip file's CRC-32, and the
checkpoint before the last one is kept. Against foreign files, kind and size are looked at before anything is read, and
names and shapes of weights must be those of the network (`load_state_dict(strict=True)`). Against code, torch reads
with `weights_only=True`: tensors and plain values, and nothing that can be called. A file that is made to waste memory
or time is no concern: it can be deleted.
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
# Other files that people give, by how they begin, or by a file within.
OTHER_FILES = {
    b"\x89HDF": "a model of Keras",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"{": "a JSON file",
}
OTHER_ARCHIVES = {"model.weights.h5": "a model of Keras", "constants.pkl": "a TorchScript archive, which holds code"}
WAY_OUT = "Give another checkpoint of the run (checkpoints/best.ckpt, checkpoints/last.ckpt), or train again."


class DurableCheckpointIO(CheckpointIO):
    """Writes files in a thread, in the order in which they were given.

    A checkpoint that still waits when a newer one for the same file comes is not written at all, so that a slow disk
    holds up nothing. A failure is a CheckpointError of the next write, or of `teardown`.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, bytes] | None = None
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writes: list[tuple[Path, Future[None]]] = []  # that have not been seen to succeed

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Copy `checkpoint` now; the file comes later, with `storage_options=HELD` after `release`."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        if storage_options == HELD:
            self._held = Path(path), buffer.getvalue()
        else:
            self._write(Path(path), buffer.getvalue())

    def release(self) -> None:
        """Write the checkpoint that is held, if there is one."""
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
        # Behind what came before it: a last.ckpt that knows of a new best one must not be there before that.
        self._writes = [(other, future) for other, future in self._writes if other != path or not future.cancel()]
        self._writes.append((path, self._thread.submit(_write, path, content)))


def _write(path: Path, content: bytes) -> None:
    try:
        atomic_write.write(path, content, run_folder.previous(path) if path.name == run_folder.LAST else None)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}.\n"
            "Make room, or let the folder be written to; what was saved before is still there."
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
    except pickle.UnpicklingError as error:  # its text advises to switch the check off
        raise CheckpointError(
            f"{path}: holds Python objects; only tensors and plain values are read, because objects can run code.\n"
            "Give a checkpoint that train.py wrote."
        ) from error
    except Exception as error:  # readers raise anything at damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(f"{path}: truncated, damaged or not a checkpoint: {reason}\n{WAY_OUT}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: not a checkpoint: holds a {type(loaded).__name__}. {WAY_OUT}")
    return loaded


def _require_whole(path: Path) -> None:
    """Refuse other kinds of files, and those whose checksums, which torch.load does not look at, are others."""
    with path.open("rb") as file:
        start = file.read(16)
    kind = next((kind for mark, kind in OTHER_FILES.items() if start.startswith(mark)), None)
    if kind is None:
        with zipfile.ZipFile(path) as archive:
            names = {PurePosixPath(name).name for name in archive.namelist()}
            kind = next((kind for name, kind in OTHER_ARCHIVES.items() if name in names), None)
            if kind is None and (damaged := archive.testzip()):
                raise zipfile.BadZipFile(f"the checksum of {damaged} is another")
    if kind is not None:
        raise CheckpointError(f"{path}: this is {kind}. Give a run folder, or a .ckpt file that train.py wrote.")
