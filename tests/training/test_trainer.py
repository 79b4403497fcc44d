"""Flags of Lightning's Trainer, each tested, and precisions."""

import json
import logging
from pathlib import Path

import pytest
import torch
from conftest import Compose, Program

from mlplab.config import torch_signatures
from mlplab.runs import provenance
from mlplab.training import restore, trainer
from mlplab.training.run import train
from mlplab.training.trainer import precision

# A value of each flag that is not its default, those together that leave a run as it is, and how many steps it has;
# epochs have 8.
FLAGS: dict[str, int] = {
    "max_epochs=3": 24,
    "max_steps=11": 11,
    "fast_dev_run=true": 1,
    "fast_dev_run=3": 3,
    "limit_train_batches=3": 6,
    "limit_train_batches=0.5": 8,
    "overfit_batches=2": 4,
    "barebones=true": 16,
    "precision=64 val_check_interval=3 max_time=00:00:10:00 profiler=simple logger=false": 16,
    "precision=64-true val_check_interval=0.5 max_time={minutes:10} deterministic=warn": 16,
    "precision=32 check_val_every_n_epoch=2 deterministic=true profiler=advanced model_registry=abc": 16,
    "precision=16-true limit_val_batches=1 limit_test_batches=1 limit_predict_batches=1 num_sanity_val_steps=-1": 16,
    "precision=bf16-true max_steps=99 enable_checkpointing=false enable_model_summary=false devices='1'": 16,
    "precision=bf16-mixed gradient_clip_val=0.5 gradient_clip_algorithm=value min_epochs=2 sync_batchnorm=true": 16,
    "precision=bf16-if-fast limit_val_batches=0 num_sanity_val_steps=0 log_every_n_steps=1 inference_mode=false": 16,
    "accelerator=auto enable_progress_bar=true benchmark=true use_distributed_sampler=false"
    " reload_dataloaders_every_n_epochs=1 enable_autolog_hparams=false": 16,
}


def test_every_flag_is_tried_or_refused() -> None:
    refused = {"num_nodes", "accumulate_grad_batches", "min_steps", "detect_anomaly", "strategy"}
    assert {flag.partition("=")[0] for words in FLAGS for flag in words.split()} | refused == set(
        torch_signatures.trainer_flags()
    )


@pytest.mark.parametrize("words", FLAGS)
@pytest.mark.filterwarnings("ignore:.*overfit_batches")
def test_flags_go_with_a_run(tiny: Compose, tmp_path: Path, words: str) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        result = train(tiny(*(f"trainer.{flag}" for flag in words.split())), tmp_path)
    finally:
        torch.use_deterministic_algorithms(before)
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["steps"] == FLAGS[words]
    assert result.metrics["test/acc"] > (0.7 if FLAGS[words] > 8 else 0)


def test_the_profiler_of_torch(program: Program, tiny_root: Path) -> None:
    """Tested in a separate process, which the profiler may leave in any state."""
    short = (f"data.root={tiny_root}", "data.val_size=50", "trainer.max_epochs=1", "show=none", "hydra.run.dir=run")
    finished = program.run(*short, "trainer.accelerator=cpu", "trainer.profiler=pytorch")
    assert finished.code == 0, finished.err
    assert (program.folder / "run" / "result.json").exists()


# Precision


@pytest.mark.parametrize(
    ("has_it", "asked", "used", "warnings"),
    [
        (True, "bf16-if-fast", "bf16-mixed", 0),
        (False, "bf16-if-fast", "32-true", 0),
        (True, "bf16-mixed", "bf16-mixed", 0),
        (False, "bf16-mixed", "bf16-mixed", 1),
    ],
)
def test_where_bfloat16_is_fast_it_is_used_and_where_it_is_slow_one_line_says_so(
    tiny: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    has_it: bool,
    asked: str,
    used: str,
    warnings: int,
) -> None:
    monkeypatch.setattr(provenance, "has_bfloat16", lambda accelerator: has_it)
    trainer._say_once.cache_clear()  # it was said in another test
    config = tiny(f"trainer.precision={asked}", "trainer.max_epochs=1")
    assert precision(config) == used
    train(config, tmp_path)
    found = json.loads((tmp_path / "result.json").read_text())
    assert (found["precision"], found["config"]["trainer"]["precision"]) == (used, asked)
    classifier, _ = restore.load(tmp_path)
    assert {weight.dtype for weight in classifier.parameters()} == {torch.float32}
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    said = [message for message in said if "bf16-mixed" in message]
    assert len(said) == warnings
    assert all("times slower" in message and "\n" not in message for message in said)


@pytest.mark.parametrize("asked", ["", "32-true", 64, "64-true", "16-true", "bf16-true", "bf16-mixed"])
def test_what_was_asked_for_is_used(tiny: Compose, monkeypatch: pytest.MonkeyPatch, asked: object) -> None:
    config = tiny(*([f"trainer.precision={asked}"] if asked else []))
    for has_it in (True, False):
        monkeypatch.setattr(provenance, "has_bfloat16", lambda accelerator, has_it=has_it: has_it)
        assert precision(config) == (asked or "32-true")
