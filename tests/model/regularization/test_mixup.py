import itertools

import pytest
import torch
from conftest import MakeTrainer
from fitting import STILL, fit
from torch.nn import functional as F

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.regularization import mixup
from mlplab.randomness import Purpose, derive_many


def test_the_loss_is_the_weighted_sum_of_two(trainer: MakeTrainer, datamodule: ImageDataModule) -> None:
    """Of an epoch of five batches, by hand; accuracy counts the label of the larger share."""
    classifier = fit(trainer, datamodule, flags={"max_epochs": 1}, optimizer=STILL, mixup=0.7)
    images, labels = datamodule.training_data(torch.device("cpu"))
    batches = datamodule.epoch_rows(0).split(32)
    loss = correct = 0.0
    for rows, seed in zip(batches, derive_many(len(batches), 0, Purpose.MIXUP, 0), strict=True):
        share, partners = mixup.draw(len(rows), 0.7, seed)
        x, y = datamodule.normalized(images[rows]), labels[rows]
        logits = classifier(share * x + (1 - share) * x[partners])
        own, other = (F.cross_entropy(logits, answers, reduction="sum").item() for answers in (y, y[partners]))
        loss += share * own + (1 - share) * other
        correct += (logits.argmax(dim=1) == (y if share >= 0.5 else y[partners])).sum().item()
    (figures,) = classifier.history
    assert figures["train/loss"] == pytest.approx(loss / 150, rel=1e-5)
    assert figures["train/acc"] == pytest.approx(correct / 150)


def test_shares_are_of_their_beta_distribution() -> None:
    drawn = [mixup.draw(4, 0.5, seed) for seed in range(4000)]
    shares = torch.tensor([share for share, _ in drawn])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / 8, rel=0.1)  # 1 / (4 (2 alpha + 1))
    assert {tuple(partners.tolist()) for _, partners in drawn} == set(itertools.permutations(range(4)))
