"""What is refused before torch is there, and what a run is."""

from collections.abc import Sequence

import pytest
from conftest import Compose, Program

from mlplab.errors import ConfigError

# What would be ignored, or mean something else, and the way out.
REFUSED = {
    "devices=2": "one run trains on one device; a sweep (-m) uses several, one for each job",
    "devices=auto": "one run trains on one device; a sweep (-m) uses several, one for each job",
    "devices=-1": "one run trains on one device; a sweep (-m) uses several, one for each job",
    "devices=[0,1]": "one run trains on one device; a sweep (-m) uses several, one for each job",
    "num_nodes=2": "one run trains on one device; a sweep (-m) uses several",
    "strategy=ddp": "one run trains on one device",
    "strategy=null": "one run trains on one device",
    "accumulate_grad_batches=2": "not supported; multiply data.batch_size instead",
    "min_steps=3": "not supported; use trainer.min_epochs",
    "detect_anomaly=true": "not supported; a loss that is not finite ends a run",
    "min_epochs=9": "must be at most trainer.max_epochs",
    "min_epochs=2 trainer.max_steps=99": "not possible with trainer.max_steps",
    "precision=16-mixed": "must be 32, 64, '32', '64', 'bf16-mixed', '16-true', 'bf16-true', '32-true', '64-true'",
    "precision=bf16": "must be 32",
    "precision=transformer-engine": "must be 32",
}


@pytest.mark.parametrize("words", REFUSED)
def test_flags_of_a_trainer_that_mean_nothing_here(composed: Compose, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(*f"trainer.{words}".split())
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"trainer.{words.partition('=')[0]}: {REFUSED[words]}")


@pytest.mark.parametrize("word", ["devices=2", "strategy=ddp", "accumulate_grad_batches=2", "precision=16-mixed"])
def test_they_are_refused_without_torch(program: Program, word: str) -> None:
    """Whose import takes seconds."""
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"  # a line on stderr for each import
    finished = program.run(f"trainer.{word}")
    assert (finished.code, finished.out) == (2, "")
    lines = finished.err.splitlines()
    (said,) = [line for line in lines if not line.startswith("import time:")]
    assert said.startswith(f"trainer.{word.partition('=')[0]}: {REFUSED[word]}")
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "hydra" in imported
    assert not {"torch", "lightning", "numpy"} & imported


@pytest.mark.parametrize("given", ["1", '"1"', "[0]", "[3]"])
def test_one_device_may_be_chosen(composed: Compose, given: str) -> None:
    composed(f"trainer.devices={given}")


def test_what_gives_the_default_is_not_refused(composed: Compose) -> None:
    defaults = ("num_nodes=1", "strategy=auto", "accumulate_grad_batches=1", "min_steps=null", "detect_anomaly=false")
    composed(*(f"trainer.{word}" for word in defaults))


@pytest.mark.parametrize("words", [("data.batch_size=1",), ("data.val_size=4999", "data.batch_size=100")])
def test_batch_norm_refuses_a_batch_of_one(composed: Compose, words: Sequence[str]) -> None:
    with pytest.raises(ConfigError, match=r"^model\.batch_norm: a batch of one image has no variance"):
        composed("model.batch_norm=true", *words)
    composed("model.batch_norm=false", *words)


def test_aids_are_off_by_default_and_do_not_change_what_a_run_is(composed: Compose) -> None:
    config = composed()
    assert config.aids.model_dump() == {"max_norm": None, "label_smoothing": 0.0, "mixup": None}
    assert config.averaging.name is None
    hashes = {
        composed(word).hash
        for word in ("aids.max_norm=3", "aids.mixup=0.2", "averaging=ema", "averaging=swa", "model.batch_norm=true")
    }
    assert len({config.hash, *hashes}) == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("aids.max_norm=0",), r"aids\.max_norm: must be greater than 0"),
        (("aids.max_norm=3", "model.hidden=[]"), r"aids\.max_norm: needs a hidden layer"),
        (("aids.mixup=0",), r"aids\.mixup: must be greater than 0"),
        (("aids.label_smoothing=1.0",), r"aids\.label_smoothing: must be less than 1"),
        (("model.input_noise=-1",), r"model\.input_noise: must be greater than or equal to 0"),
        (("averaging=swa", "averaging.start=1"), r"averaging\.start: must be less than 1"),
        (("averaging=swa", "averaging.decay=0.9"), r"averaging\.decay: needs averaging=ema"),
        (("averaging.decay=0.9",), r"averaging\.decay: needs averaging=ema"),
        (("averaging=ema", "averaging.decay=1"), r"averaging\.decay: must be less than 1"),
        (("scheduler.warmup=-1",), r"scheduler\.warmup: must be greater than or equal to 0"),
    ],
)
def test_impossible_aids_are_refused(composed: Compose, words: Sequence[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        composed(*words)
