"""Rebuilds a network and its data set from a checkpoint, without Lightning."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mlplab.data.splits import SplitDataset
from mlplab.errors import CheckpointError
from mlplab.model import optimizers
from mlplab.model.predictor import Predictor
from mlplab.model.summary import network_name
from mlplab.runs import checkpoint_file
from mlplab.runs import folder as run_folder
from mlplab.runs.result import read_result

MISFIT = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError)  # of other content


def weights(path: Path) -> str:
    """Name the epoch of the weights, for titles."""
    content = checkpoint_file.read(run_folder.find(path))
    with read_as_ours(path):
        metrics = content["figures"]  # of a complete epoch; later steps do not belong to it
        return f"weights of epoch {metrics.get('epoch', 0) + (metrics.get('step') != content['global_step'])}"


def about(path: Path) -> str:
    """Name the epoch of the weights, and the run, for titles."""
    return f"{weights(path)}, run {run_folder.folder_of(path).resolve().name}"


def title(path: Path, predictor: Predictor, dataset: SplitDataset) -> str:
    """Name data, network and figure, which best.ckpt of a complete run has: `fashion, 784-512-10, test 88.20 %`."""
    subject = f"{dataset.label}, {network_name(predictor.mlp)}"
    result = read_result(run_folder.folder_of(path)) if run_folder.find(path).stem == "best" else None
    return f"{subject}, test {100 * result.metrics['test/acc']:.2f} %" if result else subject


def load(path: Path, data_root: Path | None = None) -> tuple[Predictor, SplitDataset]:
    """Rebuild the network, in evaluation mode on the CPU, and its data set, whose images are not read yet.

    They will be read from `data_root`, or from the folder used in training.

    Raises:
        CheckpointError: if `path` is missing, damaged, or no checkpoint of this project.
    """
    path = run_folder.find(path)
    content = checkpoint_file.read(path)
    with read_as_ours(path):
        require_network(content)
        values = content["datamodule_hyper_parameters"]
        dataset = SplitDataset.of(values if data_root is None else {**values, "root": str(data_root)})
        dataset.load_state_dict(content["ImageDataModule"])
        predictor = Predictor().make_network(content["hyper_parameters"]).eval()
        predictor.load_state_dict(content["state_dict"])
        predictor.predict_step(torch.zeros(1, *dataset.info.image_shape))
    return predictor, dataset


def require_network(content: dict[str, Any]) -> None:
    """Check hyper-parameters, and names and shapes of weights, before memory is allocated."""
    values = content["hyper_parameters"]
    optimizers.require_optimizer(values["optimizer"])
    optimizers.require_scheduler(values["scheduler"])
    with torch.device("meta"):
        Predictor().make_network(values).load_state_dict(content["state_dict"], assign=True)


@contextmanager
def read_as_ours(path: Path) -> Iterator[None]:
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
