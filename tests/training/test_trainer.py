"""Flags of Lightning's Trainer: each is tried, and precisions are what was asked for or is fast."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Compose, Program
from fitting import fit

from mlplab.config import torch_signatures
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import ConfigError
from mlplab.model.mlp import MLP
from mlplab.runs import provenance
from mlplab.training import restore, trainer
from mlplab.training.run import train
from mlplab.training.trainer import precision

# A value of each flag that is not its default, and how many steps such a run has; epochs have 8.
FLAGS: dict[str, int] = {
    "max_epochs=3": 24,
    "min_epochs=2": 16,
    "max_steps=11": 11,
    "max_steps=99": 16,
    "max_time=00:00:10:00": 16,
    "max_time={minutes:10}": 16,
    "fast_dev_run=true": 1,
    "fast_dev_run=3": 3,
    "limit_train_batches=3": 6,
    "limit_train_batches=0.5": 8,
    "limit_val_batches=1": 16,
    "limit_val_batches=0": 16,
    "limit_test_batches=1": 16,
    "limit_predict_batches=1": 16,
    "overfit_batches=2": 4,
    "val_check_interval=3": 16,
    "val_check_interval=0.5": 16,
    "check_val_every_n_epoch=2": 16,
    "num_sanity_val_steps=0": 16,
    "num_sanity_val_steps=-1": 16,
    "log_every_n_steps=1": 16,
    "logger=false": 16,
    "enable_checkpointing=false": 16,
    "enable_progress_bar=true": 16,
    "enable_model_summary=false": 16,
    "gradient_clip_val=0.5": 16,
    "gradient_clip_algorithm=value": 16,
    "deterministic=true": 16,
    "deterministic=warn": 16,
    "benchmark=true": 16,
    "inference_mode=false": 16,
    "use_distributed_sampler=false": 16,
    "profiler=simple": 16,
    "profiler=advanced": 16,
    "barebones=true": 16,
    "sync_batchnorm=true": 16,
    "reload_dataloaders_every_n_epochs=1": 16,
    "enable_autolog_hparams=false": 16,
    "model_registry=abc": 16,
    "accelerator=auto": 16,
    "devices='1'": 16,
    **{
        f"precision={name}": 16
        for name in ("64", "64-true", "32", "16-true", "bf16-true", "bf16-mixed", "bf16-if-fast")
    },
}


def test_every_flag_is_tried_or_refused() -> None:
    refused = {
        "num_nodes",
        "accumulate_grad_batches",
        "min_steps",
        "detect_anomaly",
        "strategy",
    }
    assert {words.partition("=")[0] for words in FLAGS} | refused == set(torch_signatures.trainer_flags())


@pytest.mark.parametrize("words", FLAGS)
@pytest.mark.filterwarnings("ignore:.*overfit_batches")
def test_a_flag_goes_with_a_run(tiny: Compose, tmp_path: Path, words: str) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        result = train(tiny(*f"trainer.{words}".split()), tmp_path)
    finally:
        torch.use_deterministic_algorithms(before)
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["steps"] == FLAGS[words]
    assert result.metrics["test/acc"] > (0.7 if FLAGS[words] > 8 else 0)


def test_the_profiler_of_torch(program: Program, tiny_root: Path) -> None:
    """In a process of its own, which it may leave in any state."""
    short = (f"data.root={tiny_root}", "data.val_size=50", "trainer.max_epochs=2", "show=none", "hydra.run.dir=run")
    finished = program.run(*short, "trainer.accelerator=cpu", "trainer.profiler=pytorch")
    assert finished.code == 0, finished.err
    assert (program.folder / "run" / "result.json").exists()


def test_an_early_stop_waits_for_the_least_epochs(tiny: Compose, tmp_path: Path) -> None:
    stop = ("early_stopping.patience=0", "early_stopping.min_delta=9", "trainer.max_epochs=9")
    for least, epochs in ((1, 2), (4, 4)):
        train(tiny(*stop, f"trainer.min_epochs={least}"), tmp_path / str(least))
        found = json.loads((tmp_path / str(least) / "result.json").read_text())
        assert (found["epochs"], found["steps"]) == (epochs, 8 * epochs)


def test_what_lightning_refuses_is_a_mistake_of_the_configuration(tiny: Compose, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^trainer: Lightning refuses these flags: "):
        train(tiny("trainer.devices=[0]"), tmp_path)


# Precision


def test_where_bfloat16_is_fast_it_is_used(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for has_it, used in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(provenance, "has_bfloat16", lambda accelerator, has_it=has_it: has_it)
        folder = tmp_path / used
        config = tiny("trainer.precision=bf16-if-fast")
        assert precision(config) == used
        train(config, folder)
        found = json.loads((folder / "result.json").read_text())
        assert found["precision"] == used
        assert found["config"]["trainer"]["precision"] == "bf16-if-fast"
        classifier, _ = restore.load(folder)
        assert {weight.dtype for weight in classifier.parameters()} == {torch.float32}
    assert "times slower" not in caplog.text


@pytest.mark.parametrize("asked", ["32-true", 64, "64-true", "16-true", "bf16-true", "bf16-mixed"])
@pytest.mark.parametrize("has_it", [True, False])
def test_what_was_asked_for_is_used(
    tiny: Compose, monkeypatch: pytest.MonkeyPatch, asked: object, has_it: bool
) -> None:
    monkeypatch.setattr(provenance, "has_bfloat16", lambda accelerator: has_it)
    assert precision(tiny(f"trainer.precision={asked}")) == asked


def test_precision_is_32_bits_where_nothing_else_is_said(tiny: Compose) -> None:
    assert precision(tiny()) == "32-true"


@pytest.mark.parametrize(("has_it", "warnings"), [(True, 0), (False, 1)])
def test_a_slow_bfloat16_is_warned_of_in_one_line(
    tiny: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    has_it: bool,
    warnings: int,
) -> None:
    monkeypatch.setattr(provenance, "has_bfloat16", lambda accelerator: has_it)
    trainer._say_once.cache_clear()  # it was said in another test
    train(tiny("trainer.precision=bf16-mixed"), tmp_path)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    said = [message for message in said if "bf16-mixed" in message]
    assert len(said) == warnings
    assert all("times slower" in message and "\n" not in message for message in said)


@pytest.mark.parametrize("name", ["bf16-mixed", "64-true", "bf16-true", "16-true"])
@pytest.mark.parametrize("aids", [{}, {"batch_norm": True}, {"dropout": 0.2, "activation": "ELU"}])
def test_other_precisions_come_to_much_the_same(
    datamodule: ImageDataModule, trainer: Any, name: str, aids: dict[str, Any]
) -> None:
    exact = fit(trainer, datamodule, **aids)
    found = fit(trainer, datamodule, flags={"precision": name}, **aids)
    torch.manual_seed(0)
    untrained = MLP([16, 12], **aids)
    allowed = {"64-true": 1e-3, "bf16-mixed": 0.2, "16-true": 0.2, "bf16-true": 0.5}[name]
    for one, other, before in zip(found.mlp.parameters(), exact.mlp.parameters(), untrained.parameters(), strict=True):
        assert (one.float() - other).norm() < allowed * (other - before).norm()
