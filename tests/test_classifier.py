import math
from typing import Any

import pytest
import torch
from conftest import MakeTrainer
from lightning.pytorch import Callback
from torch import Tensor
from torch.nn import functional as F

from mlplab.classifier import Classifier
from mlplab.datamodule import ImageDataModule
from mlplab.errors import ConfigError, DivergedError
from mlplab.totals import Totals

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory

SGD = {"name": "SGD", "lr": 0.1}


def _trained(trainer: MakeTrainer, datamodule: ImageDataModule, seed: int = 0, **arguments: Any) -> Classifier:
    torch.manual_seed(seed)
    classifier = Classifier([16], seed=seed, **arguments)
    trainer(max_epochs=2).fit(classifier, datamodule=datamodule)
    return classifier


def _same(one: Classifier, other: Classifier) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_training_step_is_the_hand_written_one(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    torch.manual_seed(0)
    classifier = Classifier([16], optimizer=SGD)
    w1, b1, w2, b2 = before = [parameter.detach().double() for parameter in classifier.parameters()]
    images, labels = next(datamodule.batches("train"))
    trainer(max_steps=1, limit_val_batches=0).fit(classifier, datamodule=datamodule)

    x = images.flatten(1).double()  # (B, 784)
    inner = x @ w1.T + b1
    hidden = inner.clamp(min=0)
    logits = hidden @ w2.T + b2
    wrong = (logits.softmax(dim=1) - F.one_hot(labels, 10)) / len(labels)  # gradient of the loss by the logits
    back = (wrong @ w2) * (inner > 0)
    gradients = [back.T @ x, back.sum(dim=0), wrong.T @ hidden, wrong.sum(dim=0)]
    for parameter, old, gradient in zip(classifier.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(parameter.detach().double(), old - 0.1 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_same_seed_gives_the_same_weights(
    datamodule: ImageDataModule, trainer: MakeTrainer, dropout: float
) -> None:
    one = _trained(trainer, datamodule, dropout=dropout)
    torch.rand(3)  # whatever else was drawn
    assert _same(one, _trained(trainer, datamodule, dropout=dropout))
    assert not _same(one, _trained(trainer, datamodule, dropout=dropout, seed=1))


def test_the_seed_of_dropout_matters(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    runs = []
    for seed in (0, 1):
        torch.manual_seed(0)
        classifier = Classifier([16], dropout=0.5, seed=seed)
        trainer(max_epochs=1).fit(classifier, datamodule=datamodule)
        runs.append(classifier)
    assert not _same(*runs)


def test_figures_of_an_epoch_are_exact_means_over_images(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    torch.manual_seed(0)
    classifier = Classifier([16], optimizer={"name": "SGD", "lr": 1e-30})  # the weights stay
    trainer(max_epochs=1).fit(classifier, datamodule=datamodule)  # the last batch of 150 images has 22
    (figures,) = classifier.history
    for split in ("train", "val"):
        batches = list(datamodule.batches(split))
        logits = classifier(torch.cat([images for images, _ in batches]))
        labels = torch.cat([labels for _, labels in batches])
        assert figures[f"{split}/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
        assert figures[f"{split}/acc"] == pytest.approx((logits.argmax(dim=1) == labels).float().mean().item())


def test_totals_of_more_batches_than_are_kept() -> None:
    totals = Totals()
    labels = torch.zeros(1, dtype=torch.long)
    for number in range(4001):
        logits = torch.tensor([[1.0, 0.0]]) if number % 4 else torch.tensor([[0.0, 1.0]])
        totals.add(torch.tensor(float(number)), logits, labels)
    loss, acc = totals.means()
    assert loss == pytest.approx(2000)
    assert acc == pytest.approx(3000 / 4001)


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "SGD", "AdamW", "Adagrad", "LBFGS"])
def test_it_learns_with_any_optimizer(datamodule: ImageDataModule, trainer: MakeTrainer, name: str) -> None:
    classifier = _trained(trainer, datamodule, optimizer={"name": name, "lr": 0.01})
    first, last = classifier.history
    assert last["train/loss"] < first["train/loss"]
    assert last["val/acc"] > 0.3  # three times what guessing gives


class Rates(Callback):
    """The learning rate of each step."""

    def __init__(self) -> None:
        self.used: list[float] = []

    def on_train_batch_start(self, trainer: Any, *_: object) -> None:
        self.used.append(trainer.optimizers[0].param_groups[0]["lr"])


def _rates(trainer: MakeTrainer, datamodule: ImageDataModule, scheduler: dict[str, Any] | None) -> list[float]:
    rates = Rates()
    classifier = Classifier([4], optimizer=SGD, scheduler=scheduler)
    trainer(max_epochs=4, limit_val_batches=0, callbacks=[rates]).fit(classifier, datamodule=datamodule)
    assert len(rates.used) == 4 * 5
    return rates.used


def test_a_constant_rate(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    assert _rates(trainer, datamodule, None) == [0.1] * 20


@pytest.mark.parametrize(("interval", "units", "length"), [("step", 1, 20), ("epoch", 5, 4)])
def test_cosine_is_half_a_wave_to_zero(
    datamodule: ImageDataModule, trainer: MakeTrainer, interval: str, units: int, length: int
) -> None:
    found = _rates(trainer, datamodule, {"name": "CosineAnnealingLR", "interval": interval})
    expected = [0.05 * (1 + math.cos(math.pi * (step // units) / length)) for step in range(20)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_one_cycle_peaks_at_the_rate(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    found = _rates(trainer, datamodule, {"name": "OneCycleLR", "interval": "step"})
    assert max(found) == pytest.approx(0.1)
    peak = found.index(max(found))
    assert 0 < peak < 10
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[-1] < 1e-4


def test_arguments_of_a_schedule_are_passed_on(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    found = _rates(trainer, datamodule, {"name": "StepLR", "interval": "epoch", "step_size": 2, "gamma": 0.5})
    assert found == pytest.approx([0.1] * 10 + [0.05] * 10)


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": {**SGD, "nesterov": True}},
        {"optimizer": SGD, "scheduler": {"name": "OneCycleLR", "interval": "step", "pct_start": 7}},
        {"optimizer": SGD, "scheduler": {"name": "StepLR", "interval": "epoch", "step_size": "abc"}},
        {"optimizer": SGD, "scheduler": {"name": "StepLR", "interval": "epoch", "step_size": 0}},
        {"optimizer": SGD, "scheduler": {"name": "CosineAnnealingLR", "interval": "step", "eta_min": "abc"}},
    ],
)
def test_what_torch_refuses_is_a_mistake_of_the_configuration(
    datamodule: ImageDataModule, trainer: MakeTrainer, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"optimizer|scheduler"):
        trainer(max_epochs=2).fit(Classifier([4], **arguments), datamodule=datamodule)


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": {"name": "sgd"}},  # a module of torch.optim
        {"optimizer": {"lr": 0.1}},
        {"scheduler": {"name": "StepRL"}},
        {"scheduler": {"name": "EPOCH_DEPRECATION_WARNING"}},
    ],
)
def test_a_class_that_torch_has_not_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must name a class of torch.optim"):
        Classifier([4], **arguments)


def test_divergence_is_an_error(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    classifier = Classifier([16], optimizer={"name": "SGD", "lr": 1e30})
    with pytest.raises(DivergedError, match=r"train/loss of step \d is nan: .* optimizer\.lr=1e\+30"):
        trainer(max_epochs=2).fit(classifier, datamodule=datamodule)


def test_predictions_are_the_softmax_of_the_logits(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    classifier = _trained(trainer, datamodule, dropout=0.5)
    batches = trainer().predict(classifier, datamodule=datamodule)
    assert batches is not None
    probabilities = torch.cat(batches)  # type: ignore[arg-type]
    ((images, _),) = datamodule.batches("test")
    logits = classifier.eval()(images)
    expected: Tensor = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(probabilities, expected)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(50))
    torch.testing.assert_close(classifier.predict_step(images), expected)


def test_it_works_in_a_notebook() -> None:
    classifier = Classifier()
    assert classifier(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert sum(parameter.numel() for parameter in classifier.parameters()) == 101_770


def test_the_logged_rate_is_that_of_the_epoch(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    halved = {"name": "StepLR", "interval": "epoch", "step_size": 1, "gamma": 0.5}
    classifier = Classifier([4], optimizer={"name": "SGD", "lr": 0.1}, scheduler=halved)
    trainer(max_epochs=3).fit(classifier, datamodule=datamodule)
    assert [metrics["lr"] for metrics in classifier.history] == pytest.approx([0.1, 0.05, 0.025])


def test_images_are_counted_once(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    """LBFGS looks at each batch many times in a step."""
    classifier = Classifier([4], optimizer={"name": "LBFGS", "lr": 0.1})
    trainer(max_epochs=2).fit(classifier, datamodule=datamodule)
    assert classifier.images_seen == 2 * 150
