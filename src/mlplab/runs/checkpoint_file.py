"""Reads checkpoint files as untrusted files.

Threat model. A checkpoint may be torn by a crash during a write, damaged on disk, from another program or run, or made
to run code.

- Torn writes: a file is replaced as a whole, once the new one is on disk.
- Damage: all tensors are checked against the zip file's CRC-32, and the previous checkpoint is kept.
- Foreign files: kind and size are checked before anything is read, and names and shapes of weights must match the
  network (`load_state_dict(strict=True)`).
- Code: torch reads with `weights_only=True`, which allows only tensors and plain values.

Files made to waste memory or time are out of scope: they can be deleted.
"""

import pickle
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from mlplab.errors import CheckpointError

# Files often mistaken for checkpoints, by their first bytes, or by a file within.
OTHER_FILES = {
    b"\x89HDF": "a model of Keras",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"{": "a JSON file",
}
OTHER_ARCHIVES = {"model.weights.h5": "a model of Keras", "constants.pkl": "a TorchScript archive, which contains code"}
WAY_OUT = "Give another checkpoint of the run (checkpoints/best.ckpt, checkpoints/last.ckpt), or train again."


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
