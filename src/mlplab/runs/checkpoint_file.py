"""Checkpoint files: written beside the training, one after the other, and read with suspicion."""

import io
import os
import pickle
import threading
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder

HELD = "held"
# What else a person may give, by how it begins, or by a file within.
KERAS = "a model of Keras"
OTHER_FILES = {b"\x89HDF": KERAS, b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"{": "a JSON file"}
WAY_OUT = "Give another checkpoint of the run (checkpoints/best.ckpt, checkpoints/last.ckpt), or train again."


class DurableCheckpointIO(CheckpointIO):
    """Writes files in a thread, in the order in which they were given.

    A checkpoint that is still waiting when a newer one for the same file comes is not written at all, so that a slow
    disk holds up nothing. What goes wrong is raised at the next save, or by `wait`.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, bytes] | None = None
        self._waiting: dict[Path, bytes] = {}
        self._changed = threading.Condition()
        self._writing = False
        self._error: CheckpointError | None = None
        self._thread: threading.Thread | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Take a picture of `checkpoint` now; the file comes later: with `storage_options=HELD` after `release`.

        Raises:
            CheckpointError: if an earlier one could not be written.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        if storage_options == HELD:
            self._held = Path(path), buffer.getvalue()
        else:
            self._write(Path(path), buffer.getvalue())

    def release(self) -> None:
        """Write the checkpoint that is held, if there is one.

        Raises:
            CheckpointError: if an earlier one could not be written.
        """
        if self._held is not None:
            held, self._held = self._held, None
            self._write(*held)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Raises CheckpointError, see `read`."""
        return read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)

    def wait(self) -> None:
        """Until everything is on the disk.

        Raises:
            CheckpointError: if something could not be written.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._writing)
            self._raise()

    def teardown(self) -> None:
        self.wait()

    def check(self) -> None:
        """Raises CheckpointError if something could not be written."""
        if self._error is not None:
            with self._changed:
                self._raise()

    def _write(self, path: Path, content: bytes) -> None:
        with self._changed:
            self._raise()
            # Behind what came before it: a last.ckpt that knows of a new best one must not be there before that.
            self._waiting.pop(path, None)
            self._waiting[path] = content
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="checkpoints", daemon=True)
                self._thread.start()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                path = next(iter(self._waiting))
                content = self._waiting.pop(path)
                self._writing = True
            try:
                previous = run_folder.previous(path) if path.name == run_folder.LAST else None
                atomic_write.write(path, atomic_write.sealed(content), previous)
            except Exception as error:  # the thread must go on, or who waits for it waits for ever
                reason = error.strerror if isinstance(error, OSError) else repr(error)
                failure = CheckpointError(
                    f"{path}: cannot be written: {reason}.\n"
                    "Make room, or let the folder be written to; what was saved before is still there."
                )
                self._error = self._error or failure  # the first one tells where it began
            finally:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()


def read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds: tensors on the CPU and plain values. Nothing in it is called.

    Raises:
        CheckpointError: if it is missing, damaged, or holds anything else.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("not a file" if path.exists() else "does not exist")
        with path.open("rb") as file:  # its ends first: it may be of any size, and of anything
            start = file.read(2000)
            file.seek(-min(path.stat().st_size, 2000), os.SEEK_END)
            _refuse_other_kinds(path, start, end := file.read())
            atomic_write.is_whole(end)
        content = path.read_bytes()
        whole = atomic_write.is_whole(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _require_members_of_torch(archive.infolist(), len(content))
            damaged = archive.testzip() if whole is None else None  # torch.load does not look at the checksums
        if whole is False or damaged is not None:
            raise zipfile.BadZipFile("damaged: its checksum is another")
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:  # its text advises to switch the check off
        raise CheckpointError(
            f"{path}: holds Python objects; only tensors and plain values are read, because objects can run code.\n"
            "Give a checkpoint that train.py wrote."
        ) from error
    except Exception as error:  # what was tampered with makes its readers raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(f"{path}: truncated, damaged or not a checkpoint: {reason}\n{WAY_OUT}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: not a checkpoint: holds a {type(loaded).__name__}. {WAY_OUT}")
    return loaded


def _refuse_other_kinds(path: Path, start: bytes, end: bytes) -> None:
    kind = next((kind for mark, kind in OTHER_FILES.items() if start.startswith(mark)), None)
    if start.startswith(b"PK") and b"model.weights.h5" in end:  # where a zip file lists what it has
        kind = KERAS
    if kind is not None:
        raise CheckpointError(f"{path}: this is {kind}. Give a run folder, or a .ckpt file that train.py wrote.")


def _require_members_of_torch(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse a zip file that torch.save did not write, before any of it is read; `size` in bytes."""
    names = [PurePosixPath(member.filename) for member in members]
    if not any(name.name == "data.pkl" and len(name.parts) == 2 for name in names):
        raise zipfile.BadZipFile("a zip file of something else")
    if any(name.name == "constants.pkl" for name in names):
        raise zipfile.BadZipFile("a TorchScript archive, which holds code")
    if any(".." in name.parts or name.parts[:1] != names[0].parts[:1] for name in names):
        raise zipfile.BadZipFile("a zip file with names outside of its folder")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{member.filename} is compressed, as torch never does")
    if sum(member.file_size for member in members) > size:
        raise zipfile.BadZipFile("declares more bytes than it has")
