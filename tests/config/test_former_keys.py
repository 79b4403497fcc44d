"""Keys of earlier versions: on the command line, in stored configurations, and in published hashes."""

from typing import Any

import pytest
from conftest import Compose

from mlplab.config.schema import Config, completed
from mlplab.config.validation import parse

TODAY = {
    "averaging=ema averaging.decay=0.9": "regularization.averaging=ema regularization.ema_decay=0.9",
    "averaging=swa averaging.start=0.5": "regularization.averaging=swa regularization.swa_start=0.5",
    "averaging=none aids.mixup=0.2": "regularization.mixup=0.2",
    "aids.max_norm=3 aids.label_smoothing=0.1": "regularization.max_norm=3 regularization.label_smoothing=0.1",
    "augment=affine augment.shift=2": "regularization=affine regularization.shift=2",
    "model.input_noise=0.3 ++model.hidden_noise=0.2": "regularization.input_noise=0.3 regularization.hidden_noise=0.2",
    "trick=elastic": "ablation=elastic",
}


@pytest.mark.parametrize("words", TODAY)
def test_a_former_key_is_understood_and_named(composed: Compose, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert composed(*words.split()) == composed(*TODAY[words].split())
    (line,) = capfd.readouterr().err.splitlines()
    for former, today in zip(words.split(), TODAY[words].split(), strict=False):
        assert f"{former} is now " in line
        assert today in line or "none" in words


STORED: dict[str, Any] = {  # as a run of an earlier version has it
    "model": {"hidden": 128, "dropout": 0.0, "activation": "ReLU", "batch_norm": True, "input_noise": 0.3},
    "aids": {"max_norm": None, "label_smoothing": 0.0, "mixup": 0.2},
    "averaging": {"name": "ema", "decay": 0.99},
    "augment": {"shift": 2, "scale": [0.9, 1.1]},
}


@pytest.fixture
def stored(composed: Compose) -> dict[str, Any]:
    plain = composed().model_dump(mode="json", exclude_unset=True)
    return {key: part for key, part in plain.items() if key != "regularization"} | STORED


def _today(composed: Compose) -> Config:
    regularization = ("input_noise=0.3", "mixup=0.2", "averaging=ema", "ema_decay=0.99", "shift=2", "scale=[0.9,1.1]")
    return composed("model.batch_norm=true", *(f"regularization.{word}" for word in regularization))


def test_a_stored_configuration_is_read_with_todays_keys(composed: Compose, stored: dict[str, Any]) -> None:
    today = _today(composed)
    assert parse(stored).regularization == today.regularization
    assert completed(stored)["regularization"] == completed(today.recorded)["regularization"]


def test_a_renamed_key_leaves_the_hash_as_it_was(composed: Compose, stored: dict[str, Any]) -> None:
    """Compare with the hash of this configuration before its keys were renamed."""
    assert parse(stored).hash == _today(composed).hash == "47b24cfbad2fcc99"
