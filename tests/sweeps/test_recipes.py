"""Every recipe of conf/experiment/ composes, trains, and describes itself."""

import itertools
import json
from pathlib import Path

import pytest
from conftest import PROJECT, Compose

from mlplab.training.run import train

RECIPES = sorted((PROJECT / "conf" / "experiment").glob("*.yaml"))
QUICK = ("data.val_size=50", "trainer.max_steps=2", "trainer.accelerator=cpu", "show=none")
LARGEST = 2**21  # weights; a network with more of them is trained with a twentieth of its units


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path: Path, composed: Compose, tiny_root: Path, tmp_path: Path) -> None:
    whole = composed(f"experiment={path.stem}")
    widths = (784, *whole.model.hidden, 10)
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    changes = [f"data.root={tiny_root}", *QUICK]
    if weights > LARGEST:
        changes.append(f"model.hidden={[width // 20 for width in whole.model.hidden]}".replace(" ", ""))
    if whole.scheduler.warmup:
        changes.append("scheduler.warmup=1")
    result = train(composed(f"experiment={path.stem}", *changes), tmp_path / "run")
    assert json.loads((result.folder / "result.json").read_text())["steps"] == 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_describes_itself(path: Path, composed: Compose) -> None:
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert header[1] == f"# python train.py experiment={path.stem} seed=0"
    assert header[-1].startswith("# Measured: ")
    config = composed(f"experiment={path.stem}")
    title = config.published.title or ""
    assert title.startswith("-".join(map(str, (784, *config.model.hidden, 10))))
    assert path.stem.startswith(config.data.name)
    assert config.published.source
