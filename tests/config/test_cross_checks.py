"""Keys that contradict each other, refused before torch is imported."""

import pytest
from conftest import Compose

from mlplab.errors import ConfigError

ONE_DEVICE = "one run trains on one device"
REFUSED = {
    "early_stopping.patience=3 data.val_size=0": "early_stopping.patience: needs validation images",
    "evaluate_untrained=true data.val_size=0": "evaluate_untrained: needs validation images",
    "scheduler.name=ReduceLROnPlateau data.val_size=0": "scheduler.name=ReduceLROnPlateau: needs validation images",
    "scheduler.name=ReduceLROnPlateau scheduler.interval=step": "scheduler.interval: must be epoch",
    "scheduler.name=ReduceLROnPlateau monitor=val/acc": "scheduler.mode: must be max for monitor=val/acc",
    "optimizer.name=SGD optimizer.nesterov=true": "optimizer.nesterov: needs optimizer.momentum",
    "optimizer=rmsprop optimizer.alpha=1": "optimizer.alpha: must be below 1 for RMSprop",
    "scheduler=cosine scheduler.interval=epoch scheduler.warmup=9": "scheduler.warmup: counts steps",
    "scheduler=onecycle scheduler.warmup=9": "scheduler.warmup: not possible with OneCycleLR",
    "trainer.devices=2": f"trainer.devices: {ONE_DEVICE}; a sweep (-m) uses several, one for each job",
    "trainer.devices=auto": f"trainer.devices: {ONE_DEVICE}",
    "trainer.devices=[0,1]": f"trainer.devices: {ONE_DEVICE}",
    "trainer.num_nodes=2": f"trainer.num_nodes: {ONE_DEVICE}; a sweep (-m) uses several",
    "trainer.strategy=ddp": f"trainer.strategy: {ONE_DEVICE}",
    "trainer.strategy=null": f"trainer.strategy: {ONE_DEVICE}",
    "trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches: not supported; multiply data.batch_size",
    "trainer.min_steps=3": "trainer.min_steps: not supported; use trainer.min_epochs",
    "trainer.detect_anomaly=true": "trainer.detect_anomaly: not supported; a loss that is not finite ends a run",
    "trainer.min_epochs=9": "trainer.min_epochs: must be at most trainer.max_epochs",
    "trainer.min_epochs=2 trainer.max_steps=99": "trainer.min_epochs: not possible with trainer.max_steps",
    "regularization.max_norm=3 model.hidden=[]": "regularization.max_norm: needs a hidden layer",
    "regularization.averaging=swa regularization.ema_decay=0.9": "regularization.ema_decay: needs regularization.aver",
    "regularization.swa_start=0.5": "regularization.swa_start: needs regularization.averaging=swa",
    "model.batch_norm=true data.batch_size=1": "model.batch_norm: the last batch has one image",
    "model.batch_norm=true data.val_size=4999 data.batch_size=100": "model.batch_norm: the last batch has one image",
}  # fmt: skip
ACCEPTED = (
    "scheduler.name=ReduceLROnPlateau monitor=val/acc scheduler.mode=max",
    *(f"trainer.devices={devices}" for devices in ("1", '"1"', "[0]", "[3]")),
    "trainer.num_nodes=1 trainer.strategy=auto trainer.accumulate_grad_batches=1 trainer.min_steps=null",
    "trainer.detect_anomaly=false model.batch_norm=false data.batch_size=1",
    "regularization.averaging=swa regularization.ema_decay=0.999",
)


def _refusal(composed: Compose, words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        composed(*words.split())
    return str(caught.value).splitlines()


@pytest.mark.parametrize("words", REFUSED)
def test_a_contradiction_is_one_line(composed: Compose, words: str) -> None:
    (line,) = _refusal(composed, words)
    assert line.startswith(REFUSED[words])


@pytest.mark.parametrize("words", ACCEPTED)
def test_what_fits_together_is_accepted(composed: Compose, words: str) -> None:
    composed(*words.split())


def test_all_contradictions_are_listed_at_once(composed: Compose) -> None:
    together = ["trainer.strategy=ddp", "regularization.swa_start=0.5", "trainer.min_epochs=9"]
    lines = _refusal(composed, " ".join(together))
    assert sorted(lines) == sorted(line for words in together for line in _refusal(composed, words))
