"""Equivalent runs have the same hash, however they are spelled, and different runs have different ones."""

import inspect
import json

import pytest
from conftest import PROJECT, Compose
from lightning.pytorch import Trainer

from mlplab.config import torch_signatures
from mlplab.config.validation import parse

UNLIKE = {"max_epochs", "devices", "enable_checkpointing"}  # the project has other defaults than Lightning


def test_a_default_of_the_trainer_changes_nothing(composed: Compose) -> None:
    plain = composed()
    tree = plain.model_dump(mode="json", exclude_unset=True)
    flags = inspect.signature(Trainer).parameters
    documented = {"precision": "32-true", "val_check_interval": 1.0, "log_every_n_steps": 50, "logger": True}
    documented |= {f"limit_{stage}_batches": 1.0 for stage in ("train", "val", "test")}
    for key in torch_signatures.trainer_flags().keys() - UNLIKE:
        value = documented.get(key, flags[key].default)
        assert parse({**tree, "trainer": {**tree["trainer"], key: value}}).hash == plain.hash, key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "trainer.precision=32 trainer.accumulate_grad_batches=1 optimizer.weight_decay=0"),
        ("", 'optimizer.betas=[0.9,0.999] trainer.precision="32" trainer.log_every_n_steps=5'),
        ("trainer.precision=64", "trainer.precision=64-true"),
        ("optimizer.lr=1e-3", "optimizer.lr=0.001"),
        ("optimizer.lr=1", "optimizer.lr=1.0"),
        ("model.hidden=[128]", "model.hidden=128"),
        ("model.hidden=[8,8] model.dropout=0.2", "model.hidden=[8,8] model.dropout=[0.2,0.2]"),
        ("model.dropout=0", "model.dropout=[0.0]"),
        ("", "data.val_size=5000"),
        ("data=digits data.val_size=287", "data=digits data.val_size=0.2"),
        ("trainer.gradient_clip_val=1", "trainer.gradient_clip_val=1.0 trainer.gradient_clip_algorithm=norm"),
        ("", "trainer.gradient_clip_algorithm=value trainer.gradient_clip_val=0"),
        ("", "trainer.devices=[0] trainer.num_sanity_val_steps=2 trainer.logger=false trainer.fast_dev_run=0"),
        ("", "ablation=plain trainer.max_time=00:01:00:00"),
        ("", "trainer.enable_model_summary=false trainer.enable_progress_bar=true show=none data.root=elsewhere"),
        ("", "early_stopping.min_delta=0.1 scheduler.interval=epoch regularization.elastic_sigma=2.0"),
        ("regularization=shift", "regularization=shift regularization.elastic_sigma=2.0"),
        ("scheduler=onecycle", "scheduler=onecycle scheduler.interval=null scheduler.div_factor=25"),
        ("scheduler.name=CyclicLR scheduler.base_lr=1 scheduler.max_lr=2", "scheduler.name=CyclicLR"
         " scheduler.base_lr=1.0 scheduler.max_lr=2.0 scheduler.interval=step"),
        ("optimizer.name=Rprop optimizer.step_sizes=[0.1,2]", "optimizer.name=Rprop optimizer.step_sizes=[0.1,2.0]"),
        ("optimizer=sgd optimizer.momentum=0", "optimizer=sgd ~optimizer.momentum"),
    ],
)  # fmt: skip
def test_one_run_in_two_spellings(composed: Compose, one: str, other: str) -> None:
    assert composed(*one.split()).hash == composed(*other.split()).hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("trainer.limit_train_batches=1", "trainer.limit_train_batches=1.0"),  # one batch, and all of them
        ("trainer.val_check_interval=1", "trainer.val_check_interval=1.0"),
        ("trainer.overfit_batches=1", "trainer.overfit_batches=1.0"),
        ("", "trainer.enable_checkpointing=false"),  # the last weights are tested, not the best
        ("optimizer.name=AdamW optimizer.weight_decay=0", "optimizer.name=AdamW"),
        ("optimizer=sgd", "optimizer=sgd ~optimizer.momentum"),
        ("scheduler=cosine", "scheduler=cosine scheduler.interval=epoch"),
        ("model.hidden=[8,8] model.dropout=[0.2,0]", "model.hidden=[8,8] model.dropout=[0,0.2]"),
        ("", "trainer.precision=bf16-if-fast"),
        ("", "data.val_size=5001"),
        ("", "regularization.max_norm=3"),
        ("", "regularization.averaging=ema"),
        ("regularization.averaging=ema", "regularization.averaging=swa"),
        ("", "regularization.shift=1"),
        ("regularization.shift=1", "regularization.shift=2"),
        ("", "seed=1"),
    ],
)
def test_two_runs(composed: Compose, one: str, other: str) -> None:
    assert composed(*one.split()).hash != composed(*other.split()).hash


def test_hashes_that_were_published_are_still_those(composed: Compose) -> None:
    """Compare the recipes that have not changed since they were measured."""
    measured = json.loads((PROJECT / "scripts" / "results" / "measured.json").read_text())
    current = {name: entry["config_hash"] for name, entry in measured.items() if not entry["is_earlier"]}
    assert current
    for name, by_seed in current.items():
        recipe = composed(f"experiment={name}").recorded
        assert {seed: parse({**recipe, "seed": int(seed)}).hash for seed in by_seed} == by_seed


@pytest.mark.parametrize(
    "words",
    ["", "optimizer.name=AdamW", "scheduler=onecycle", "data=digits data.val_size=0.2", "regularization=affine"],
)
def test_what_is_recorded_has_the_same_hash(composed: Compose, words: str) -> None:
    config = composed(*words.split())
    assert parse(json.loads(json.dumps(config.recorded))).hash == config.hash
