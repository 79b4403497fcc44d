"""Rebuilds a classifier from a checkpoint, or resumes a run."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mlplab.data.datamodule import ImageDataModule
from mlplab.data.datasets import DatasetInfo
from mlplab.errors import CheckpointError
from mlplab.model.classifier import Classifier
from mlplab.model.summary import network_name
from mlplab.runs import checkpoint_file
from mlplab.runs import folder as run_folder
from mlplab.runs.result import read_result
from mlplab.training.checkpointing import RUN, BestCheckpoint, RunState

log = logging.getLogger(__name__)

MISFIT = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError)  # of other content


def picture(path: Path, name: str) -> Path:
    """Return the path of a plot of these weights: NAME for best.ckpt, STEM_NAME otherwise."""
    weights = run_folder.find(path).stem
    return run_folder.folder_of(path) / (name if weights == "best" else f"{weights}_{name}")


def weights(path: Path) -> str:
    """Name the epoch of the weights, for titles."""
    content = checkpoint_file.read(run_folder.find(path))
    with _read_as_ours(path):
        metrics = content["figures"]  # of a complete epoch; later steps do not belong to it
        return f"weights of epoch {metrics.get('epoch', 0) + (metrics.get('step') != content['global_step'])}"


def about(path: Path) -> str:
    """Name the epoch of the weights, and the run, for titles."""
    return f"{weights(path)}, run {run_folder.folder_of(path).resolve().name}"


def title(path: Path, classifier: Classifier, datamodule: ImageDataModule) -> str:
    """Name data, network and figure, which best.ckpt of a complete run has: `fashion, 784-512-10, test 88.20 %`."""
    subject = f"{datamodule.name}, {network_name(classifier.mlp)}"
    result = read_result(run_folder.folder_of(path)) if run_folder.find(path).stem == "best" else None
    return f"{subject}, test {100 * result.metrics['test/acc']:.2f} %" if result else subject


def load(path: Path, data_root: Path | None = None) -> tuple[Classifier, ImageDataModule]:
    """Rebuild the classifier, in evaluation mode on the CPU, and its data module, whose images are not read yet.

    They will be read from `data_root`, or from the folder used in training.

    Raises:
        CheckpointError: if `path` is missing, damaged, or no checkpoint of this project.
    """
    path = run_folder.find(path)
    content = checkpoint_file.read(path)
    with _read_as_ours(path):
        _require_network(content)
        root = {} if data_root is None else {"root": str(data_root)}
        datamodule = ImageDataModule(**{**content["datamodule_hyper_parameters"], **root})
        datamodule.load_state_dict(content["ImageDataModule"])
        classifier = Classifier(**content["hyper_parameters"]).eval()
        classifier.load_state_dict(content["state_dict"])
        classifier.predict_step(torch.zeros(1, *datamodule.info.image_shape))
    return classifier, datamodule


def last(folder: Path) -> dict[str, Any] | None:
    """Read the last checkpoint of a run, or the one before if it is damaged; None if there is none yet.

    Raises:
        CheckpointError: if there are checkpoints, but none can be read.
    """
    path = run_folder.checkpoint(folder, "last")
    refusals = []
    for found in (path, run_folder.previous(path)):
        try:
            content = checkpoint_file.read(found)
        except CheckpointError as error:
            refusals.append(str(error).splitlines()[0])
            continue
        if refusals:
            log.warning(f"{refusals[0]}\nResuming from the one before it, {run_folder.short(found)}.")
            run_folder.write(path, found.read_bytes())
        return content
    if not any(os.path.lexists(found) for found in (path, run_folder.previous(path))):
        return None
    raise CheckpointError("\n".join([*refusals, "The run cannot be resumed: train it again."]))


def state(folder: Path, content: dict[str, Any]) -> RunState:
    """Return the state of the run in its last checkpoint; raises CheckpointError if it is missing."""
    with _read_as_ours(run_folder.checkpoint(folder, "last")):
        return RunState(**content[RUN])


def require_same_run(
    folder: Path, content: dict[str, Any], classifier: Classifier, datamodule: ImageDataModule
) -> None:
    """Refuse to resume from the last checkpoint of another run, or without the best weights so far.

    Best weights of a later epoch are accepted, because the run will reach them again.

    Raises:
        CheckpointError: if it cannot be resumed.
    """
    path = run_folder.checkpoint(folder, "last")
    _require_run(path, content, classifier, datamodule)
    with _read_as_ours(path):
        best = content["callbacks"].get(BestCheckpoint.__qualname__, {}).get("best")
    if best is not None:
        path = run_folder.checkpoint(folder, "best")
        try:
            _require_run(path, checkpoint_file.read(path), classifier, datamodule)
        except CheckpointError as error:
            first = str(error).splitlines()[0]
            raise CheckpointError(f"{first}\nThe best weights of the run are lost: train it again.") from error


def _require_run(path: Path, content: dict[str, Any], classifier: Classifier, datamodule: ImageDataModule) -> None:
    own = {**classifier.hparams, **datamodule.hparams, **datamodule.state_dict()}
    with _read_as_ours(path):
        parts = ("hyper_parameters", "datamodule_hyper_parameters", "ImageDataModule")
        found = {key: value for part in parts for key, value in content[part].items()}
        found |= ImageDataModule(**content["datamodule_hyper_parameters"]).hparams  # with arguments added since then
        found |= asdict(DatasetInfo(**content["ImageDataModule"]))
        names = sorted(name for name in {*own, *found} - {"root"} if own.get(name) != found.get(name))
        if not names:
            _require_network(content)
    if names:
        differences = ", ".join(f"{name} {found.get(name)} instead of {own.get(name)}" for name in names)
        raise CheckpointError(f"{path}: of another run: {differences}."[:300])


def _require_network(content: dict[str, Any]) -> None:
    """Compare names and shapes of weights with those of the network before memory is allocated."""
    with torch.device("meta"):
        Classifier(**content["hyper_parameters"]).load_state_dict(content["state_dict"], assign=True)


@contextmanager
def _read_as_ours(path: Path) -> Iterator[None]:
    """Refuse content that this project did not write, or in another form."""
    try:
        yield
    except MISFIT as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of this project, or of another version of it: {reason(error)}\n"
            "Give a checkpoint written by train.py."
        ) from error


def reason(error: Exception) -> str:
    """Describe in one line what is wrong with a checkpoint."""
    return f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
