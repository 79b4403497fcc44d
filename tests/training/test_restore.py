import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import Compose

from mlplab.config import torch_signatures
from mlplab.data.augmentation import Distortion
from mlplab.errors import CheckpointError, ConfigError, DataError
from mlplab.model import evaluation
from mlplab.runs import folder as run_folder
from mlplab.training import restore
from mlplab.training.run import Result, train


@pytest.fixture
def best(tiny_run: Result, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copy(tiny_run.folder / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt"))


def _refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        restore.load(path)
    refusal = str(caught.value)
    assert 1 <= len(refusal.splitlines()) <= 5
    assert str(path) in refusal
    return refusal


def test_a_run_means_its_best_checkpoint(tiny_run: Result) -> None:
    best = tiny_run.folder / "checkpoints" / "best.ckpt"
    assert run_folder.find(tiny_run.folder) == best
    assert run_folder.find(best) == best
    last = tiny_run.folder / "checkpoints" / "last.ckpt"
    assert run_folder.find(last) == last


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "this is a model of Keras"),
        ("model.keras", None, "this is a model of Keras"),
        ("shoe.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "this is a picture"),
        ("result.json", b'{"status": "completed"}', "this is a JSON file"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            for member in ("metadata.json", "config.json", "model.weights.h5"):
                archive.writestr(member, "{}" * 5000)
    else:
        path.write_bytes(content)
    assert _refusal(path) == f"{path}: {says}. Give a run folder, or a .ckpt file that train.py wrote."


def test_it_holds_tensors_and_plain_values(best: Path) -> None:
    content = torch.load(best, weights_only=True)
    assert {"state_dict", "optimizer_states", "hyper_parameters", "datamodule_hyper_parameters"} <= set(content)


def test_what_is_rebuilt_scores_what_the_run_scored(tiny_run: Result) -> None:
    classifier, datamodule = restore.load(tiny_run.folder)
    assert not classifier.training
    datamodule.setup()
    assert evaluation.score(classifier, datamodule.batches("test")).acc == tiny_run.metrics["test/acc"]
    assert evaluation.score(classifier, datamodule.batches("val")).acc == tiny_run.metrics["val/acc"]


def test_predictions_need_no_data(best: Path, tiny_run: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    with_data, datamodule = restore.load(tiny_run.folder)
    datamodule.setup()
    images, _ = next(datamodule.batches("test"))
    pixels = datamodule._loaded.test_images
    classifier, without = restore.load(best, data_root=Path("/nowhere"))
    assert torch.equal(without.normalized(pixels), images)
    assert torch.equal(classifier.predict_step(images), with_data.predict_step(images))


def test_every_activation_is_rebuilt(best: Path) -> None:
    content = torch.load(best, weights_only=True)
    for name in torch_signatures.activations() - {"PReLU"}:  # it has a weight
        content["hyper_parameters"]["activation"] = name
        torch.save(content, best)
        classifier, _ = restore.load(best)
        assert type(classifier.mlp[2]).__name__ == name


def test_data_may_have_moved(tiny_run: Result, tiny_root: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_root, tmp_path / "moved")
    _, datamodule = restore.load(tiny_run.folder, data_root=moved)
    (moved / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="moved"):
        datamodule.setup()


def test_one_from_before_there_were_distortions(tiny_run: Result, best: Path) -> None:
    content = torch.load(best, weights_only=True)
    del content["datamodule_hyper_parameters"]["augment"]
    torch.save(content, best)
    _, datamodule = restore.load(best)
    assert datamodule.distortion.is_identity


def test_distortions_are_kept_as_plain_values(tiny: Compose, tmp_path: Path) -> None:
    config = tiny("augment=affine_elastic", "trainer.max_epochs=1")
    train(config, tmp_path)
    _, datamodule = restore.load(tmp_path)
    assert datamodule.distortion == Distortion(**config.augment.model_dump())


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert "does not exist" in _refusal(tmp_path / "outputs" / "run")
    assert "no checkpoints/best.ckpt" in _refusal(tmp_path)


def test_validation_images_of_a_run_without_any(tiny_run: Result, best: Path) -> None:
    content = torch.load(best, weights_only=True)
    content["datamodule_hyper_parameters"]["val_size"] = 0
    torch.save(content, best)
    _, datamodule = restore.load(best)
    datamodule.setup()
    with pytest.raises(ConfigError, match="no validation images"):
        next(datamodule.batches("val"))
