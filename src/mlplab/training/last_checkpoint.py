"""The last checkpoint of a run, from which it is resumed."""

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlplab.data.datamodule import ImageDataModule
from mlplab.data.image_dataset import DatasetInfo
from mlplab.errors import CheckpointError
from mlplab.model.classifier import Classifier
from mlplab.runs import checkpoint_file
from mlplab.runs import folder as run_folder
from mlplab.training.checkpointing import RUN, BestCheckpoint, RunState
from mlplab.training.restore import read_as_ours, require_network

log = logging.getLogger(__name__)


def read(folder: Path) -> dict[str, Any] | None:
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
    with read_as_ours(run_folder.checkpoint(folder, "last")):
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
    with read_as_ours(path):
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
    with read_as_ours(path):
        parts = ("hyper_parameters", "datamodule_hyper_parameters", "ImageDataModule")
        found = {key: value for part in parts for key, value in content[part].items()}
        found |= ImageDataModule(**content["datamodule_hyper_parameters"]).hparams  # with arguments added since then
        found |= asdict(DatasetInfo(**content["ImageDataModule"]))
        names = sorted(name for name in {*own, *found} - {"root"} if own.get(name) != found.get(name))
        if not names:
            require_network(content)
    if names:
        differences = ", ".join(f"{name} {found.get(name)} instead of {own.get(name)}" for name in names)
        raise CheckpointError(f"{path}: of another run: {differences}."[:300])
