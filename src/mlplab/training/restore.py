"""Checkpoint files: read one with suspicion, and rebuild what it holds."""

import inspect
import logging
import math
import os
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlplab.data.datamodule import ImageDataModule
from mlplab.data.datasets import DatasetInfo
from mlplab.errors import CheckpointError
from mlplab.model.classifier import Classifier
from mlplab.runs import checkpoint_file
from mlplab.runs import folder as run_folder
from mlplab.training.checkpointing import RUN

log = logging.getLogger(__name__)


def picture(path: Path, name: str) -> Path:
    """Where a picture belongs: named as a run names its own if it is of the best weights; others are named in front."""
    weights = run_folder.find(path).stem
    return run_folder.folder_of(path) / (name if weights == "best" else f"{weights}_{name}")


def weights(path: Path) -> str:
    """Of which epoch they are, for titles."""
    content = checkpoint_file.read(run_folder.find(path))
    figures = content["figures"]  # of an epoch, which later steps do not belong to
    is_within_epoch = figures.get("step") != content["global_step"]
    return f"weights of epoch {figures.get('epoch', 0) + is_within_epoch}"


def load(path: Path, data_root: Path | None = None) -> tuple[Classifier, ImageDataModule]:
    """The classifier, in evaluation mode on the CPU, and its data module, whose images are not read yet.

    They are read from `data_root`, or from where they were when it was trained.

    Raises:
        CheckpointError: if `path` is missing, damaged, or no checkpoint of this project.
    """
    path = run_folder.find(path)
    content = checkpoint_file.read(path)
    try:
        for part in ("hyper_parameters", "datamodule_hyper_parameters", "ImageDataModule"):
            _require_plain_values(content[part])
        root = {} if data_root is None else {"root": str(data_root)}
        datamodule = ImageDataModule(**{**content["datamodule_hyper_parameters"], **root})
        datamodule.load_state_dict(content["ImageDataModule"])
        _require_weights(content["hyper_parameters"], content["state_dict"], datamodule.info, path.stat().st_size)
        classifier = Classifier(**content["hyper_parameters"])
        classifier.load_state_dict(content["state_dict"])
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: not a checkpoint of this project, or of another version of it: {reason}\n"
            "Give a checkpoint that train.py wrote."
        ) from error
    return classifier.eval(), datamodule


def to_go_on(
    folder: Path, classifier: Classifier, datamodule: ImageDataModule, states: Mapping[str, Set[str]]
) -> Path | None:
    """The last good checkpoint of a run, None if it had not come so far; `states`: keys of each callback's.

    Raises:
        CheckpointError: if there are some, and none is good, or they are of another run.
    """
    last = run_folder.checkpoint(folder, "last")
    refusals = []
    for path in (last, run_folder.previous(last)):
        if not os.path.lexists(path):
            continue
        try:
            content = checkpoint_file.read(path)
            _refuse_another_run(path, content, classifier, datamodule)
            _require_state(path, content, states)
        except CheckpointError as error:
            refusals.append(str(error).splitlines()[0])
            continue
        if path != last:
            for refusal in refusals or [f"{last}: is missing."]:
                log.warning(f"{refusal}\nGoing on from the one before it, {run_folder.short(path)}.")
            run_folder.write(last, path.read_bytes())
        return last
    if refusals:
        raise CheckpointError("\n".join([*refusals, "The run cannot go on from there: train it again."]))
    return None


def made_with(folder: Path) -> list[dict[str, str]]:
    """Versions and arithmetic of each process that trained a run, as its last good checkpoint has them, if it does."""
    last = run_folder.checkpoint(folder, "last")
    for path in (last, run_folder.previous(last)):
        try:
            noted = checkpoint_file.read(path)[RUN]["made_with"]
            return [{str(key): str(value) for key, value in process.items()} for process in noted]
        except (CheckpointError, LookupError, TypeError, AttributeError):
            continue
    return []


def require_best(folder: Path, classifier: Classifier, datamodule: ImageDataModule, figure: float | None) -> None:
    """Refuse to go on where the best weights so far, of a monitored `figure`, are gone.

    Those of a later epoch may be there already: the run will come to them again.

    Raises:
        CheckpointError: if they are.
    """
    path = run_folder.checkpoint(folder, "best")
    if figure is None:
        return
    try:
        content = checkpoint_file.read(path)
        _refuse_another_run(path, content, classifier, datamodule)
    except CheckpointError as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{first}\nThe best weights of the run are lost: train it again.") from error


def _refuse_another_run(
    path: Path, content: dict[str, Any], classifier: Classifier, datamodule: ImageDataModule
) -> None:
    expected = {
        "hyper_parameters": dict(classifier.hparams),
        "datamodule_hyper_parameters": dict(datamodule.hparams),
        type(datamodule).__name__: datamodule.state_dict(),  # of the images: size, classes, mean, standard deviation
    }
    defaults = {"hyper_parameters": _defaults(Classifier), "datamodule_hyper_parameters": _defaults(ImageDataModule)}
    for key, own in expected.items():
        found = content.get(key)
        if not isinstance(found, dict):
            raise CheckpointError(f"{path}: not a checkpoint of this project: lacks {key}.")
        try:
            _require_plain_values(found)
            if not isinstance(found.get("root", ""), str):  # the one that may differ
                raise ValueError(f"root is {found['root']!r}")
        except ValueError as error:
            raise CheckpointError(f"{path}: not a checkpoint of this project: {error}.") from error
        found = {**defaults.get(key, {}), **found}  # of a version that did not know them all
        names = sorted(name for name in {*own, *found} - {"root"} if own.get(name) != found.get(name))
        if names:
            differences = ", ".join(f"{name} {found.get(name)} instead of {own.get(name)}" for name in names)
            raise CheckpointError(f"{path}: of another run: {differences}."[:300])
    try:
        _require_weights(content["hyper_parameters"], content["state_dict"], datamodule.info, path.stat().st_size)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(f"{path}: not of this network: {error}"[:300]) from error


def _defaults(kind: type) -> dict[str, Any]:
    """Arguments of its constructor that need not be given."""
    arguments = inspect.signature(kind).parameters.values()
    return {argument.name: argument.default for argument in arguments if argument.default is not argument.empty}


def _require_state(path: Path, content: dict[str, Any], states: Mapping[str, Set[str]]) -> None:
    """Refuse what a run cannot go on from."""
    try:
        parts = {key: content[key] for key in (RUN, "loops", "callbacks", "history", "figures", "lr_schedulers")}
        _require_plain_values(parts, most=10**7, tensors=True)
        kinds = {"stopped": bool, "seconds": float, "untrained": dict}
        for values, name, kind in (
            *((content[RUN], name, kind) for name, kind in kinds.items()),
            *((content, name, kind) for name, kind in {"global_step": int, "images_seen": int, "epoch": int}.items()),
            *((content, name, kind) for name, kind in {"history": list, "figures": dict}.items()),
        ):
            if not isinstance(values[name], kind):
                raise TypeError(f"{name} is {values[name]!r}")
        for name, keys in states.items():
            if not keys <= set(content["callbacks"][name]):
                raise KeyError(f"the state of {name}")
        content["loops"]["fit_loop"]
        if not all(isinstance(epoch, dict) for epoch in content["history"]):
            raise TypeError("its history must be a list of dicts")
        (optimizer,) = content["optimizer_states"]
        buffers = [buffer for kept in optimizer["state"].values() for buffer in kept.values()]
        declared = sum(b.numel() * b.itemsize for b in buffers if isinstance(b, Tensor))
        if declared > path.stat().st_size:
            raise ValueError(f"its optimizer would take {declared:,} bytes")
        if not all(isinstance(group["lr"], float | int | Tensor) for group in optimizer["param_groups"]):
            raise TypeError("its learning rate must be a number")
        content["pytorch-lightning_version"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: lacks what it takes to go on: {error}"[:300]) from error


def _require_plain_values(values: object, most: int = 10_000, tensors: bool = False) -> None:
    """Refuse what is not a number, a word, or lists and mappings of them; or, if `tensors`, one of those.

    A small file can nest lists so that they have more values than can be counted: `most` is enough.
    """
    plain = (bool, int, float, str, *([Tensor] if tensors else []))
    pending, count = [values], 0
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
        elif not (value is None or isinstance(value, plain)):
            raise ValueError(f"a {type(value).__name__} among its hyper-parameters")
        count += 1
        if count + len(pending) > most:
            raise ValueError(f"more than {most:,} hyper-parameters")


def _require_weights(
    hyper_parameters: dict[str, Any], state_dict: dict[str, torch.Tensor], info: DatasetInfo, size: int
) -> None:
    """Refuse weights that are not those of the network, before it takes memory; `size` of the file in bytes."""
    found = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    declared = sum(math.prod(tensor.shape) * tensor.itemsize for tensor in state_dict.values())
    if declared > size:
        raise ValueError(f"its weights would take {declared:,} bytes, the file has {size:,}")
    with torch.device("meta"):  # shapes alone
        classifier = Classifier(**hyper_parameters).eval()
        expected = {name: tuple(tensor.shape) for name, tensor in classifier.state_dict().items()}
        if found != expected:
            name = min(name for name in {**found, **expected} if found.get(name) != expected.get(name))
            shape, wanted = (shapes.get(name, "not there") for shapes in (found, expected))
            raise ValueError(f"{name} is {shape}, by its hyper-parameters {wanted}")
        logits = classifier(torch.empty(1, *info.image_shape))
    if logits.shape != (1, len(info.classes)) or not 1 <= info.object_size <= max(info.image_shape):
        raise ValueError("the network is not for the images and classes of its data set")
    if not (0 <= info.mean <= 1 and 0 < info.std <= 1):
        raise ValueError(f"pixels have no mean of {info.mean} and standard deviation of {info.std}")
