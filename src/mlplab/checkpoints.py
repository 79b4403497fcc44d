"""Checkpoint files: find one, read it with suspicion, and rebuild what it holds."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from mlplab import run_folder
from mlplab.classifier import Classifier
from mlplab.datamodule import ImageDataModule
from mlplab.errors import CheckpointError


def find(path: Path) -> Path:
    """The checkpoint that a person means: the file itself, or the best one of a run folder.

    Raises:
        CheckpointError: if there is none.
    """
    if path.is_file():
        return path
    best = run_folder.best_weights(path)
    if best is not None:
        return best
    if path.is_dir():
        runs = [folder.name for folder in path.iterdir() if run_folder.best_weights(folder)]
        hint = f" Runs below it: {', '.join(sorted(runs)[:5])}" if runs else ""
        raise CheckpointError(f"{path}: no checkpoints/best.ckpt here. Give a run folder or a .ckpt file.{hint}")
    if path.exists():
        raise CheckpointError(f"{path}: not a file. Give a run folder below outputs/, or a .ckpt file.")
    raise CheckpointError(f"{path}: does not exist. Give a run folder below outputs/, or a .ckpt file.")


def load(path: Path, data_root: Path | None = None) -> tuple[Classifier, ImageDataModule]:
    """The classifier, in evaluation mode on the CPU, and its data module, whose images are not read yet.

    They are read from `data_root`, or from where they were when it was trained.

    Raises:
        CheckpointError: if `path` is missing, damaged, or no checkpoint of this project.
    """
    path = find(path)
    content = _read(path)
    try:
        classifier = Classifier(**content["hyper_parameters"])
        classifier.load_state_dict(content["state_dict"])
        root = {} if data_root is None else {"root": str(data_root)}
        datamodule = ImageDataModule(**{**content["datamodule_hyper_parameters"], **root})
        datamodule.load_state_dict(content["ImageDataModule"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: not a checkpoint of this project, or of another version of it: {reason}\n"
            "Give a checkpoint that train.py wrote."
        ) from error
    return classifier.eval(), datamodule


def _read(path: Path) -> dict[str, Any]:
    way_out = "Give another checkpoint of the run (checkpoints/best.ckpt, checkpoints/last.ckpt), or train again."
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                raise zipfile.BadZipFile("a zip file of something else")
        if damaged is not None:
            raise CheckpointError(f"{path}: damaged in {damaged}. {way_out}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to switch the check off
        raise CheckpointError(
            f"{path}: holds Python objects; only tensors and plain values are read, because objects can run code.\n"
            "Give a checkpoint that train.py wrote."
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise CheckpointError(f"{path}: truncated, damaged or not a checkpoint: {reason}\n{way_out}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint: holds a {type(content).__name__}. {way_out}")
    return content
