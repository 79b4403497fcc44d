"""Runs with aids: over a kill, from their files, and where they diverge."""

from pathlib import Path

import pytest
import states
import torch
from conftest import Compose
from test_checkpointing import _killed

from mlplab.errors import DivergedError
from mlplab.model import evaluation
from mlplab.runs import checkpoint_file
from mlplab.runs import folder as run_folder
from mlplab.training import restore
from mlplab.training.run import train

AIDS = {
    "all that draw": (
        *("model.batch_norm=true", "model.input_dropout=0.1", "model.input_noise=0.1", "model.hidden_noise=0.1"),
        *("model.dropout=0.2", "aids.mixup=0.4", "aids.max_norm=2", "aids.label_smoothing=0.1"),
    ),
    "ema, warmup": ("averaging=ema", "averaging.decay=0.8", "model.batch_norm=true", "scheduler.warmup=11"),
    "swa": ("averaging=swa", "averaging.start=0.25", "aids.mixup=1.0"),
    "swa, batch_norm": (
        *("averaging=swa", "averaging.start=0.25", "model.batch_norm=true", "model.dropout=0.3"),
        *("scheduler=cosine", "scheduler.warmup=9"),
    ),
    "swa, no validation": ("averaging=swa", "averaging.start=0.5", "data.val_size=0"),
}


@pytest.mark.parametrize("kind", AIDS)
def test_a_run_that_was_killed_ends_as_one_that_was_not(tiny: Compose, tmp_path: Path, kind: str) -> None:
    config = tiny("trainer.max_epochs=4", "trainer.limit_train_batches=8", *AIDS[kind])  # eight batches, not a block
    whole = train(config, tmp_path / "whole")
    for hook, calls in [("on_train_batch_end", 13), ("on_train_epoch_end", 2), ("on_train_batch_start", 17)]:
        folder = tmp_path / f"{hook} {calls}"
        assert _killed(config, folder, hook, calls)
        resumed = train(config, folder, resume=True)
        assert states.differences(states.of(folder), states.of(whole.folder)) == [], hook
        assert resumed.metrics == whole.metrics
    for name in ("best", "last"):
        content = torch.load(run_folder.checkpoint(whole.folder, name), weights_only=True)
        assert content["hyper_parameters"]["batch_norm"] == config.model.batch_norm


@pytest.mark.parametrize("kind", AIDS)
def test_what_is_rebuilt_scores_what_the_run_scored(tiny: Compose, tmp_path: Path, kind: str) -> None:
    result = train(tiny(*AIDS[kind]), tmp_path)
    classifier, datamodule = restore.load(tmp_path)
    datamodule.setup()
    score = evaluation.score(classifier, datamodule.batches("test"))
    assert score.acc == result.metrics["test/acc"]
    assert score.loss == pytest.approx(result.metrics["test/loss"], rel=1e-6)


def test_a_checkpoint_of_a_run_that_diverged_has_finite_weights(tiny: Compose, tmp_path: Path) -> None:
    """That of the first epoch, after which the rate is too high."""
    rate = ("scheduler.name=StepLR", "scheduler.step_size=1", "scheduler.gamma=1e20")
    with pytest.raises(DivergedError):
        train(tiny("optimizer=sgd", *rate, "model.batch_norm=true", "averaging=ema"), tmp_path)
    content = checkpoint_file.read(run_folder.checkpoint(tmp_path, "last"))
    assert len(content["history"]) == 1
    assert all(weight.isfinite().all() for weight in content["state_dict"].values())
