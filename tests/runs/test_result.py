"""The two records of a run: read back as written, or reported as damaged."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result, composed, damage, outcome, read_result, read_status, write_status


@pytest.fixture
def content(tiny_run: Result) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tiny_run.folder / "result.json").read_text())
    return content


def test_a_result_is_read_as_it_was_written(tiny_run: Result, tmp_path: Path) -> None:
    result = Result.load(tiny_run.folder)
    assert result.model_dump(mode="json") == tiny_run.model_dump(mode="json")
    assert (result.folder, result.metrics) == (tiny_run.folder, tiny_run.metrics)
    run_folder.complete(result.model_copy(update={"folder": tmp_path}))
    assert (tmp_path / "result.json").read_bytes() == (tiny_run.folder / "result.json").read_bytes()
    assert (read_result(tmp_path / "none"), damage(tmp_path / "none")) == (None, "")


NUMBER = "must be a number from"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        *(({key: None}, f"{key}: field required") for key in ("history", "metrics", "seed", "versions", "config")),
        ({"history": "none"}, "history: "),
        ({"history": ["epoch 1"]}, "history.0: "),
        ({"history": [{"epoch": 1, "val/loss": None}]}, f"history.0.val/loss: {NUMBER}"),
        ({"history": [{"val/loss": 1e300}]}, f"history.0.val/loss: {NUMBER}"),
        ({"metrics": {"test/acc": True}}, f"metrics.test/acc: {NUMBER}"),
        ({"metrics": {"test/acc": float("nan")}}, f"metrics.test/acc: {NUMBER}"),
        ({"metrics": {"val/acc": 0.9}}, "metrics: test/acc is missing or not between 0 and 1"),
        ({"metrics": {"val/acc": 97, "test/acc": 0.9}}, "metrics: val/acc is missing or not between 0 and 1"),
        ({"seed": 0.5}, "seed: "),
        ({"fit_s": -1}, f"fit_s: {NUMBER} 0"),
        ({"fit_s": 10**400}, f"fit_s: {NUMBER} 0"),
        ({"best_epoch": [1]}, "best_epoch: "),
        ({"earlier_versions": "2.10"}, "earlier_versions: "),
        ({"config": []}, "config: "),
        ({"status": "running"}, "status: "),
        ({"versions": ["torch"]}, "versions: "),
        ({"config": {"a": {"b": {"c": {"d": 1}}}}}, "config.a: "),
        ({"config": {"model": {"hidden": [[1]]}}}, "config.model: "),
    ],
)
def test_a_damaged_result_is_none_and_says_why(
    content: dict[str, Any], change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    kept = {key: value for key, value in (content | change).items() if value is not None}
    (tmp_path / "result.json").write_text(json.dumps(kept))
    assert read_result(tmp_path) is None
    assert damage(tmp_path).startswith(says)
    assert len(damage(tmp_path).splitlines()) == 1


def test_the_status_has_a_time_and_keeps_the_versions(tmp_path: Path) -> None:
    write_status(tmp_path, "running", versions=[{"torch": "2.15.0"}])
    write_status(tmp_path, "running", epoch=3, step=117, done=0.5)
    write_status(tmp_path, "diverged", "why \udc80")
    status = read_status(tmp_path)
    assert status is not None
    assert (status.status, status.reason, status.pid, status.epoch) == ("diverged", "why ?", os.getpid(), None)
    assert status.versions == [{"torch": "2.15.0"}]
    age = datetime.now().astimezone() - datetime.fromisoformat(status.time)
    assert timedelta(seconds=-1) < age < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        ("interrupted", "Interrupted in epoch 4 of 150.", "interrupted in epoch 4 of 150"),
        ("interrupted", "Terminated.", "interrupted"),
        ("interrupted", "a second Ctrl-C", "interrupted: a second Ctrl-C"),
        ("failed", "ZeroDivisionError: by zero", "failed: ZeroDivisionError: by zero"),
    ],
)
def test_how_a_run_ended_in_words(status: str, reason: str, words: str) -> None:
    assert outcome(status, reason) == words


@pytest.mark.parametrize("text", ["a: [", "a: !!python/name:os.system", "\x00", "7", "? [1]\n: 2", "a: 2026-01-01"])
def test_a_damaged_configuration_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"^config\.yaml: .*$"):
        composed(tmp_path)
    (tmp_path / ".hydra" / "config.yaml").write_text("seed: 3\nmodel:\n  hidden: [128]\n")
    assert composed(tmp_path) == {"seed": 3, "model": {"hidden": [128]}}
