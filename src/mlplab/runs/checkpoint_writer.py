"""Writes checkpoint files one after the other in a separate thread."""

import io
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write, checkpoint_file
from mlplab.runs import folder as run_folder

HELD = "held"


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
        return checkpoint_file.read(Path(path))

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
