from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Compose, MakeTrainer
from fitting import fit
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.classifier import Classifier
from mlplab.model.mlp import MLP
from mlplab.model.regularization.batch_norm import renew
from mlplab.training import restore
from mlplab.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory


def _assert_statistics(network: nn.Sequential, datamodule: ImageDataModule) -> Tensor:
    """Assert that the first batch norm has weighted means over the batches of all images; return the running mean."""
    norm = network.get_submodule("batch_norm1")
    features = [network.get_submodule("linear1")(images.flatten(1)) for images, _ in datamodule.batches("train")]
    sizes = torch.tensor([[len(x)] for x in features])
    means, variances = torch.stack([x.mean(dim=0) for x in features]), torch.stack([x.var(dim=0) for x in features])
    mean = (sizes * means).sum(dim=0) / sizes.sum()
    assert sizes.sum() == 150
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, (sizes * variances).sum(dim=0) / sizes.sum())
    assert norm.momentum == 0.1
    return mean


@pytest.mark.parametrize(
    "aids",
    [
        {"averaging": {"name": "swa", "start": 0.5}},
        {"averaging": {"name": "swa", "start": 0.25}, "input_noise": 0.5},
        {"input_noise": 0.5, "input_dropout": 0.2},
        {"averaging": {"name": "ema", "decay": 0.9}, "input_noise": 0.5},
    ],
    ids=["swa", "swa, noise", "noise", "ema, noise"],
)
def test_what_is_evaluated_has_statistics_of_whole_images_under_its_weights(
    trainer: MakeTrainer, datamodule: ImageDataModule, aids: dict[str, Any]
) -> None:
    classifier = fit(trainer, datamodule, batch_norm=True, **aids)
    mean = _assert_statistics(classifier.eval_network, datamodule)
    if classifier.average is not None:
        assert not torch.allclose(classifier.mlp.batch_norm1.running_mean, mean, rtol=0.01)


@pytest.mark.parametrize(
    "flags",
    [
        {"limit_val_batches": 0},
        {"limit_val_batches": 0, "max_steps": 8},
        {"limit_val_batches": 0, "max_steps": 10, "max_epochs": 100},
        {"check_val_every_n_epoch": 3},
    ],
    ids=["no validation", "within an epoch", "after an epoch", "long after a validation"],
)
def test_the_last_weights_have_their_own_statistics_however_a_run_ends(
    trainer: MakeTrainer, datamodule: ImageDataModule, flags: dict[str, Any]
) -> None:
    classifier = fit(trainer, datamodule, flags=flags, batch_norm=True, dropout=0.5)
    _assert_statistics(classifier.eval_network, datamodule)


@pytest.mark.parametrize(
    "ending",
    [f"trainer.max_epochs={epochs}" for epochs in ("2", "100 trainer.max_steps=30", "100 trainer.max_steps=38")],
)
def test_the_file_of_the_last_weights_has_their_statistics(tiny: Compose, tmp_path: Path, ending: str) -> None:
    train(tiny("model.batch_norm=true", "model.dropout=0.5", "data.val_size=0", *ending.split()), tmp_path)
    classifier, datamodule = restore.load(tmp_path)
    datamodule.setup()
    features = [classifier.mlp.linear1(images.flatten(1)) for images, _ in datamodule.batches("train")]
    mean = sum(x.sum(dim=0) for x in features) / 200
    torch.testing.assert_close(classifier.mlp.batch_norm1.running_mean, mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("averaging", [None, {"name": "ema", "decay": 0.9}], ids=["", "ema"])
def test_a_validation_within_an_epoch_has_the_statistics_of_its_weights(
    datamodule: ImageDataModule, trainer: MakeTrainer, averaging: dict[str, Any] | None
) -> None:
    seen = []

    class Looks(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert isinstance(pl_module, Classifier)
            seen.append(_assert_statistics(pl_module.eval_network, datamodule))

    classifier = Classifier([16, 12], batch_norm=True, mixup=0.4, averaging=averaging)
    trainer(max_epochs=1, val_check_interval=2, callbacks=[Looks()]).fit(classifier, datamodule=datamodule)
    assert len(seen) == 2


def test_without_a_data_module_the_running_statistics_are_kept(
    datamodule: ImageDataModule, trainer: MakeTrainer
) -> None:
    loader = DataLoader(list(datamodule.batches("train"))[:1], batch_size=None)  # type: ignore[arg-type]
    classifier = Classifier([8], dropout=0.5, batch_norm=True)
    trainer(max_epochs=1).fit(classifier, loader, loader)
    assert int(classifier.mlp.batch_norm1.num_batches_tracked) == 1
    # A tenth of the variance of the one batch, and nine of the 1 that it began with.
    assert classifier.mlp.batch_norm1.running_var.min() > 0.9


def test_a_batch_of_one_image_has_no_variance() -> None:
    images = torch.rand(16, 1, 28, 28)
    network = MLP([8], batch_norm=True, dropout=0.5)
    renew(network, [images[:10], images[10:11], images[11:16]])
    features = network.linear1(images.flatten(1))
    variances = [features[rows].var(dim=0) for rows in (slice(10), slice(11, 16))]
    torch.testing.assert_close(network.batch_norm1.running_var, (2 * variances[0] + variances[1]) / 3)


def test_running_statistics_are_kept_where_nothing_is_drawn_or_averaged(
    trainer: MakeTrainer, datamodule: ImageDataModule
) -> None:
    classifier = fit(trainer, datamodule, batch_norm=True)
    features = [classifier.mlp.linear1(images.flatten(1)) for images, _ in datamodule.batches("train")]
    mean = torch.stack([x.mean(dim=0) for x in features]).mean(dim=0)
    assert not torch.allclose(classifier.mlp.batch_norm1.running_mean, mean, rtol=1e-3)
