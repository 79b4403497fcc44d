"""Every recipe of conf/experiment/: it composes, it trains, and its header says what it should."""

import itertools
import json
import re
from pathlib import Path

import pytest
from conftest import PROJECT, Compose
from published import RECIPES as REGISTRY

from mlplab.training.run import train

RECIPES = sorted((PROJECT / "conf" / "experiment").glob("*.yaml"))
QUICK = ("data.val_size=50", "trainer.max_steps=2", "trainer.accelerator=cpu", "show=none")
LARGEST = 2**21  # weights; a network with more of them is trained with a twentieth of its units


def header(path: Path) -> dict[str, str]:
    """Its lines of the form `# Name: text`, with those that go on below."""
    found: dict[str, str] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        begins = re.match(r"# (\w+): +(.+)", line)
        if begins:
            name = begins[1]
        if name:
            text = begins[2] if begins else line.removeprefix("#").strip()
            found[name] = f"{found.get(name, '')} {text}".strip()
    return found


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
def test_a_header_says_all(path: Path, composed: Compose) -> None:
    said = header(path)
    assert list(said) == ["Command", "Source", "Published", "Measured", "Takes"]
    assert said["Command"].startswith(f"python train.py experiment={path.stem} seed=0")
    accuracy = REGISTRY[path.stem].accuracy
    assert ("none" if accuracy is None else str(accuracy)) in said["Published"]
    config = composed(f"experiment={path.stem}")
    title = path.read_text(encoding="utf-8").splitlines()[1]
    network = "-".join(map(str, (784, *config.model.hidden, 10)))
    assert title.startswith("# Fashion-MNIST, " if config.data.name == "fashion" else "# MNIST, ")
    assert network in title
    assert f" {config.trainer.max_epochs} epochs" in title
