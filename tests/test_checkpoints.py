import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlplab import checkpoints, evaluation
from mlplab.errors import CheckpointError, ConfigError, DataError
from mlplab.training import Result

Damage = Callable[[Path], object]


@pytest.fixture
def best(tiny_run: Result, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copy(tiny_run.folder / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt"))


def _refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(path)
    refusal = str(caught.value)
    assert 1 <= len(refusal.splitlines()) <= 5
    assert str(path) in refusal
    return refusal


def test_a_run_means_its_best_checkpoint(tiny_run: Result) -> None:
    best = tiny_run.folder / "checkpoints" / "best.ckpt"
    assert checkpoints.find(tiny_run.folder) == best
    assert checkpoints.find(best) == best
    last = tiny_run.folder / "checkpoints" / "last.ckpt"
    assert checkpoints.find(last) == last


def test_it_holds_tensors_and_plain_values(best: Path) -> None:
    content = torch.load(best, weights_only=True)
    assert {"state_dict", "optimizer_states", "hyper_parameters", "datamodule_hyper_parameters"} <= set(content)


def test_what_is_rebuilt_scores_what_the_run_scored(tiny_run: Result) -> None:
    classifier, datamodule = checkpoints.load(tiny_run.folder)
    assert not classifier.training
    datamodule.setup()
    assert evaluation.score(classifier, datamodule.batches("test")).acc == tiny_run.metrics["test/acc"]
    assert evaluation.score(classifier, datamodule.batches("val")).acc == tiny_run.metrics["val/acc"]


def test_predictions_need_no_data(best: Path, tiny_run: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    with_data, datamodule = checkpoints.load(tiny_run.folder)
    datamodule.setup()
    images, _ = next(datamodule.batches("test"))
    pixels = datamodule._loaded.test_images
    classifier, without = checkpoints.load(best, data_root=Path("/nowhere"))
    assert torch.equal(without.normalized(pixels), images)
    assert torch.equal(classifier.predict_step(images), with_data.predict_step(images))


def test_data_may_have_moved(tiny_run: Result, tiny_root: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_root, tmp_path / "moved")
    _, datamodule = checkpoints.load(tiny_run.folder, data_root=moved)
    (moved / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="moved"):
        datamodule.setup()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert "does not exist" in _refusal(tmp_path / "outputs" / "run")
    assert "no checkpoints/best.ckpt" in _refusal(tmp_path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    """One bit of the weights."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + 500] ^= 1
    path.write_bytes(content)


def _without(key: str) -> Damage:
    def remove(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        del content[key]
        torch.save(content, path)

    return remove


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_cut, "truncated, damaged or not a checkpoint"),
        (_flip, "damaged in"),
        (lambda path: path.write_bytes(b""), "truncated, damaged or not a checkpoint"),
        (lambda path: path.write_bytes(os.urandom(5000)), "truncated, damaged or not a checkpoint"),
        (lambda path: path.write_text("hello\n" * 100), "truncated, damaged or not a checkpoint"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "truncated, damaged or not a checkpoint"),
        (lambda path: torch.save(torch.nn.Linear(2, 2).state_dict(), path), "not a checkpoint of this project"),
        (lambda path: torch.save({"state_dict": 3, "hyper_parameters": 4}, path), "not a checkpoint of this project"),
        (lambda path: torch.save(torch.zeros(3), path), "holds a Tensor"),
        (lambda path: torch.save([1, 2], path), "holds a list"),
        (_without("state_dict"), "not a checkpoint of this project"),
        (_without("hyper_parameters"), "not a checkpoint of this project"),
        (_without("ImageDataModule"), "not a checkpoint of this project"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(best: Path, damage: Damage, says: str) -> None:
    damage(best)
    assert says in _refusal(best)


def test_other_weights_than_the_network_has(best: Path) -> None:
    content = torch.load(best, weights_only=True)
    content["hyper_parameters"]["hidden"] = [17]
    torch.save(content, best)
    assert "not a checkpoint of this project" in _refusal(best)


def test_an_unknown_class_name_is_refused(best: Path) -> None:
    content = torch.load(best, weights_only=True)
    content["hyper_parameters"]["activation"] = "Rectifier"
    torch.save(content, best)
    assert "Rectifier" in _refusal(best)


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(best: Path, tmp_path: Path, zipped: bool) -> None:
    content = {"state_dict": Malicious(tmp_path / "ran")}
    if zipped:
        torch.save(content, best)
    else:
        best.write_bytes(pickle.dumps(content))
    _refusal(best)
    assert not (tmp_path / "ran").exists()


def test_validation_images_of_a_run_without_any(tiny_run: Result, best: Path) -> None:
    content = torch.load(best, weights_only=True)
    content["datamodule_hyper_parameters"]["val_size"] = 0
    torch.save(content, best)
    _, datamodule = checkpoints.load(best)
    datamodule.setup()
    with pytest.raises(ConfigError, match="no validation images"):
        next(datamodule.batches("val"))
