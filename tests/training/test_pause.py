"""A run that is paused and continued ends like one that was never paused."""

import json
from itertools import product
from pathlib import Path

import pytest
import states
from conftest import Compose

from mlplab.config.schema import Config
from mlplab.errors import Paused
from mlplab.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")

OPTIMIZERS = ("optimizer=adam", "optimizer=rmsprop", "optimizer=sgd optimizer.momentum=0.9")
SCHEDULES = ("", "scheduler=cosine", "scheduler=onecycle")
OTHERS = (
    "regularization.averaging=swa",
    "regularization.averaging=ema model.batch_norm=true",
    "model.dropout=0.3 regularization=shift",
)
ALL = [f"{optimizer} {schedule}" for optimizer, schedule in product(OPTIMIZERS, SCHEDULES)]
KINDS = [f"{one} {OTHERS[(number + number // 3) % 3]}" for number, one in enumerate(ALL)]  # each pair of columns once


def paused(config: Config, folder: Path, *rungs: int) -> None:
    for number, rung in enumerate(rungs):
        with pytest.raises(Paused):
            train(config, folder, resume=number > 0, pause_after=rung)


@pytest.mark.parametrize("kind", KINDS)
def test_a_paused_run_ends_as_one_that_was_not(composed: Compose, tmp_path: Path, kind: str) -> None:
    config = composed("data=digits", "trainer.max_epochs=5", "show=none", *kind.split())
    train(config, tmp_path / "whole")
    paused(config, tmp_path / "run", 1, 3)
    said = json.loads((tmp_path / "run" / "status.json").read_text())
    assert said["status"] == "paused"
    assert len(json.loads((tmp_path / "run" / "paused.json").read_text())["history"]) == 3
    train(config, tmp_path / "run", resume=True)
    assert states.problems(tmp_path / "run", tmp_path / "whole") == []
    assert not (tmp_path / "run" / "paused.json").exists()


def test_a_paused_run_knows_nothing_of_the_test_images(composed: Compose, tmp_path: Path) -> None:
    paused(composed("data=digits", "trainer.max_epochs=3"), tmp_path / "run", 1)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and path.suffix != ".ckpt"]
    assert files
    assert not [path for path in files if b"test/" in path.read_bytes()]
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_run_that_has_come_further_pauses_at_once(composed: Compose, tmp_path: Path) -> None:
    config = composed("data=digits", "trainer.max_epochs=4", "show=none")
    paused(config, tmp_path / "run", 2)
    before = states.of(tmp_path / "run")
    (tmp_path / "run" / "paused.json").write_text("torn")
    with pytest.raises(Paused):
        train(config, tmp_path / "run", resume=True, pause_after=1)
    assert states.differences(states.of(tmp_path / "run"), before) == []
    assert len(json.loads((tmp_path / "run" / "paused.json").read_text())["history"]) == 2


def test_a_run_that_stops_early_before_its_pause_is_complete(composed: Compose, tmp_path: Path) -> None:
    stops = ("early_stopping.patience=0", "early_stopping.min_delta=10")
    config = composed("data=digits", "trainer.max_epochs=9", "show=none", *stops)
    assert train(config, tmp_path / "run", pause_after=5).epochs < 5
