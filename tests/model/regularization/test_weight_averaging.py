from typing import Any

import pytest
import torch
from conftest import MakeTrainer
from fitting import Noted, fit
from torch.nn import functional as F

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.classifier import Classifier
from mlplab.model.mlp import MLP
from mlplab.model.regularization.weight_averaging import make_average


@pytest.mark.parametrize(
    "flags", [{}, {"limit_train_batches": 1.0}, {"precision": "64-true"}], ids=["steps", "blocks", "64 bits"]
)
def test_swa_is_the_mean_of_the_weights_at_the_end_of_epochs(
    trainer: MakeTrainer, datamodule: ImageDataModule, flags: dict[str, Any]
) -> None:
    noted = Noted()
    fit(trainer, datamodule, noted, flags, averaging={"name": "swa", "start": 0.25})
    ends = noted.after_step[4::5] if len(noted.after_step) == 4 * 5 else noted.after_step
    assert len(ends) == 4
    exactly = {"rtol": 1e-13, "atol": 1e-15} if flags.get("precision") else {}
    for epoch, found in enumerate(noted.in_validation):  # in the first epoch, the weights themselves
        counted = ends[1 : epoch + 1] if epoch else ends[:1]
        for name, value in found.items():
            torch.testing.assert_close(value, torch.stack([end[name] for end in counted]).mean(dim=0), **exactly)
    assert len(noted.in_validation) == 4


@pytest.mark.parametrize(
    ("start", "epochs", "first"),
    [(0.29, 100, 30), (0.75, 5, 4), (0.75, 10, 8), (0.75, 4, 4), (0.0, 3, 1), (0.99, 2, 2)],
)
def test_swa_begins_after_its_share_of_the_epochs(
    trainer: MakeTrainer, datamodule: ImageDataModule, start: float, epochs: int, first: int
) -> None:
    classifier = Classifier([2], averaging={"name": "swa", "start": start})
    trainer(max_epochs=epochs, limit_train_batches=1, limit_val_batches=0).fit(classifier, datamodule=datamodule)
    assert classifier.average is not None
    assert int(classifier.average.n_averaged) == epochs - first + 1


def test_validation_and_predictions_use_the_average(trainer: MakeTrainer, datamodule: ImageDataModule) -> None:
    classifier = fit(trainer, datamodule, averaging={"name": "ema", "decay": 0.95})
    assert classifier.average is not None
    images, labels = next(datamodule.batches("val"))
    logits = classifier.average.module(images)
    assert classifier.history[-1]["val/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert torch.equal(classifier.eval()(images), logits)
    assert not torch.allclose(classifier.train()(images), logits)


@pytest.mark.parametrize(
    "averaging",
    [{"name": "mean"}, {"name": "ema", "decay": 1.0}, {"name": "swa", "start": 1.0}, {"name": "swa", "start_epoch": 3}],
)
def test_impossible_averages_are_refused(averaging: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`averaging` must"):
        Classifier([4], averaging=averaging)


def test_without_a_name_there_is_no_average() -> None:
    assert make_average(MLP([4]), {"name": None, "decay": 0.9, "start": 0.5}) is None
