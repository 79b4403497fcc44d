"""One run in two processes."""

import json
from pathlib import Path

import torch
from conftest import Program


def test_two_processes_train_one_network(program: Program, tmp_path: Path) -> None:
    overrides = ("data=digits", "data.val_size=237", "data.batch_size=16", "trainer.max_epochs=3", "hydra.run.dir=run")
    finished = program.run(*overrides, "trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp")
    assert finished.code == 0, finished.err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] == 3 * 38  # 600 of the 1,200 images each, 16 at once
    assert result["metrics"]["test/acc"] > 0.85
    assert result["history"][0]["train/loss"] > result["history"][-1]["train/loss"]
    assert finished.out.count("epoch 3/3") == 1
    assert finished.out.count("images to train") == 1
    assert finished.err == ""
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == result["steps"]
    assert len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 1
