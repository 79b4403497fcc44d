"""The learning rate of each step, and invalid combinations with a schedule."""

import math
from typing import Any

import pytest
from conftest import MakeTrainer
from lightning.pytorch import Callback, Trainer

from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import ConfigError
from mlplab.model.classifier import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory

SGD = {"name": "SGD", "lr": 0.1}
STEPS = 4 * 5


class Rates(Callback):
    """Records the learning rate of each step."""

    def __init__(self) -> None:
        self.used: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: object) -> None:
        self.used.append(pl_module.lr)


def _rates(make: MakeTrainer, datamodule: ImageDataModule, scheduler: dict[str, Any] | None) -> list[float]:
    rates = Rates()
    classifier = Classifier([4], optimizer=SGD, scheduler=scheduler)
    one_by_one: dict[str, Any] = {"limit_train_batches": 5, "limit_val_batches": 0}
    make(max_epochs=4, **one_by_one, callbacks=[rates]).fit(classifier, datamodule=datamodule)
    assert len(rates.used) == STEPS
    return rates.used


@pytest.mark.parametrize(("interval", "units", "length"), [("step", 1, 20), ("epoch", 5, 4)])
def test_cosine_is_half_a_wave_to_zero(
    datamodule: ImageDataModule, trainer: MakeTrainer, interval: str, units: int, length: int
) -> None:
    found = _rates(trainer, datamodule, {"name": "CosineAnnealingLR", "interval": interval})
    expected = [0.05 * (1 + math.cos(math.pi * (step // units) / length)) for step in range(STEPS)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_one_cycle_peaks_at_the_rate(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    found = _rates(trainer, datamodule, {"name": "OneCycleLR", "interval": "step"})
    assert max(found) == pytest.approx(0.1)
    peak = found.index(max(found))
    assert 0 < peak < 10
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[-1] < 1e-4


@pytest.mark.parametrize("warmup", [1, 2, 5])
@pytest.mark.parametrize("name", [None, "CosineAnnealingLR", "StepLR"])
def test_the_rate_rises_and_then_follows_its_schedule(
    datamodule: ImageDataModule, trainer: MakeTrainer, name: str | None, warmup: int
) -> None:
    scheduler: dict[str, Any] = {"name": name, "interval": "step", "warmup": warmup}
    if name == "StepLR":
        scheduler |= {"step_size": 4, "gamma": 0.5}
    rest = STEPS - warmup
    after = {
        None: [0.1] * rest,
        "CosineAnnealingLR": [0.05 * (1 + math.cos(math.pi * step / rest)) for step in range(rest)],
        "StepLR": [0.1 * 0.5 ** (step // 4) for step in range(rest)],
    }
    found = _rates(trainer, datamodule, scheduler)
    assert found == pytest.approx([0.1 * (step + 1) / warmup for step in range(warmup)] + after[name])


def test_a_warm_up_is_shorter_than_the_run(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.warmup: must be below 20, the steps of the run, got 20"):
        _rates(trainer, datamodule, {"warmup": 20})
