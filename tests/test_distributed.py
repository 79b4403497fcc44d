"""One run in two processes."""

import json
from pathlib import Path

import torch
from conftest import Program

from mlplab import datasets


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
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {"curves.png", "confusion.png", "mistakes.png"}


def test_what_two_processes_tested_is_put_in_order(program: Program, tmp_path: Path) -> None:
    """Both take turns with the images, so logits and labels must be brought back into one row."""
    overrides = ("data=digits", "data.val_size=237", "trainer.max_epochs=1", "show=none", "show.projector=true")
    finished = program.run(
        *overrides, "trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "hydra.run.dir=run"
    )
    assert finished.code == 0, finished.err
    (names,) = (tmp_path / "run").glob("*/last_hidden_layer/metadata.tsv")
    expected = datasets.load("digits", tmp_path).test_labels.tolist()
    assert [int(name) for name in names.read_text().splitlines()] == expected
