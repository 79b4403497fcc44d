"""Loading a classifier and its data from a checkpoint."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import Compose

from mlplab.data.augmentation import Distortion
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import CheckpointError, DataError
from mlplab.model import evaluation
from mlplab.runs import checkpoint_file
from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result
from mlplab.training import restore
from mlplab.training.run import train


@pytest.fixture
def best(tiny_run: Result, tmp_path: Path) -> Path:
    """A copy for a test to damage."""
    return Path(shutil.copy(tiny_run.folder / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt"))


def test_a_run_means_its_best_checkpoint(tiny_run: Result, tmp_path: Path) -> None:
    best = tiny_run.folder / "checkpoints" / "best.ckpt"
    assert run_folder.find(tiny_run.folder) == run_folder.find(best) == best
    last = tiny_run.folder / "checkpoints" / "last.ckpt"
    assert run_folder.find(last) == last
    assert run_folder.file_of(tiny_run.folder, "confusion.png") == tiny_run.folder / "confusion.png"
    assert run_folder.file_of(last, "confusion.png") == tiny_run.folder / "last_confusion.png"
    assert restore.weights(last) == "weights of epoch 2"
    for path, says in ((tmp_path / "outputs", "does not exist"), (tmp_path, r"no checkpoints/best\.ckpt here")):
        with pytest.raises(CheckpointError, match=rf"^{path}: {says}"):
            run_folder.find(path)


def test_a_checkpoint_with_a_comment_in_its_archive_is_read(best: Path) -> None:
    """Sealed checkpoints of earlier versions have such a comment."""
    with zipfile.ZipFile(best, "a") as archive:
        archive.comment = b"sha256:" + b"0" * 64
    content = torch.load(io.BytesIO(best.read_bytes()), weights_only=True)
    assert checkpoint_file.read(best).keys() == content.keys()


UPS_AND_DOWNS = ("trainer.max_epochs=4", "optimizer=sgd", "optimizer.lr=0.3")  # of the validation loss


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.val_size=0", "averaging=swa", "averaging.start=0.5"),
        ("averaging=ema", "model.batch_norm=true", "model.dropout=0.3", "aids.mixup=0.4", "augment=affine_elastic"),
        ("aids.label_smoothing=0.2",),
        (*UPS_AND_DOWNS, "trainer.val_check_interval=2"),
        (*UPS_AND_DOWNS, "trainer.check_val_every_n_epoch=2"),
        (*UPS_AND_DOWNS, "trainer.max_steps=10"),
    ],
)
def test_a_rebuilt_classifier_scores_what_the_run_scored(
    tiny: Compose, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    config = tiny(*overrides)
    result = train(config, tmp_path)
    classifier, datamodule = restore.load(tmp_path)
    assert not classifier.training
    datamodule.setup()
    for split in ("val", "test") if config.data.val_size else ("test",):
        score = evaluation.score(classifier, datamodule.batches(split))
        assert score.acc == result.metrics[f"{split}/acc"]
        assert score.loss == pytest.approx(result.metrics[f"{split}/loss"], rel=1e-6)
    stored = checkpoint_file.read(tmp_path / "checkpoints" / "best.ckpt")["datamodule_hyper_parameters"]
    assert ImageDataModule(**stored).distortion == Distortion(**config.regularization.distortions or {})


def test_without_checkpoints_the_last_weights_are_tested(tiny: Compose, tmp_path: Path) -> None:
    result = train(tiny(*UPS_AND_DOWNS, "trainer.enable_checkpointing=false"), tmp_path)
    assert result.metrics["val/loss"] == result.history[-1]["val/loss"]


def test_predictions_need_no_data(best: Path, tiny_run: Result) -> None:
    with_data, datamodule = restore.load(tiny_run.folder)
    datamodule.setup()
    images, _ = next(datamodule.batches("test"))
    classifier, without = restore.load(best, data_root=Path("/nowhere"))
    assert torch.equal(without.normalized(datamodule.originals("test")), images)
    assert torch.equal(classifier.predict_step(images), with_data.predict_step(images))


def test_data_may_have_moved(tiny_run: Result, tiny_root: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_root, tmp_path / "moved")
    _, datamodule = restore.load(tiny_run.folder, data_root=moved)
    (moved / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="moved"):
        datamodule.setup()
