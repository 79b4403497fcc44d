import json
import os
import threading
from pathlib import Path

import pytest

from mlplab import run_folder
from mlplab.errors import ConfigError, MlplabError


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    run_folder.reserve(tmp_path / "a" / "run")
    run_folder.claim(tmp_path / "a" / "run")
    for use in (run_folder.reserve, run_folder.claim):
        with pytest.raises(ConfigError, match=r"holds an unfinished run already\. Choose another hydra\.run\.dir"):
            use(tmp_path / "a" / "run")


def test_a_result_alone_is_a_run(tmp_path: Path) -> None:
    run_folder.write_result(tmp_path, {})
    with pytest.raises(ConfigError, match="holds a run already"):
        run_folder.reserve(tmp_path)


def test_of_many_at_once_one_claims(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def claim() -> None:
        barrier.wait()
        try:
            run_folder.claim(tmp_path)
            outcomes.append("claimed")
        except ConfigError:
            outcomes.append("refused")

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["claimed"] + ["refused"] * 7


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MlplabError, match=r"file/run: cannot be made: .* hydra\.run\.dir"):
        run_folder.reserve(tmp_path / "file" / "run")


def test_the_best_weights_without_validation_are_the_last(tmp_path: Path) -> None:
    run_folder.claim(tmp_path)
    assert run_folder.best_weights(tmp_path) is None
    run_folder.checkpoint(tmp_path, "last").write_text("last")
    run_folder.choose_best(tmp_path)
    best = run_folder.best_weights(tmp_path)
    assert best == tmp_path / "checkpoints" / "best.ckpt"
    assert best.read_text() == "last"


def test_the_best_weights_are_not_replaced(tmp_path: Path) -> None:
    run_folder.claim(tmp_path)
    run_folder.checkpoint(tmp_path, "last").write_text("last")
    run_folder.checkpoint(tmp_path, "best").write_text("best")
    run_folder.choose_best(tmp_path)
    best = run_folder.best_weights(tmp_path)
    assert best is not None
    assert best.read_text() == "best"


def test_a_result_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError):
        run_folder.write_result(tmp_path, {"score": object()})
    assert not (tmp_path / "result.json").exists()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            run_folder.write_result(tmp_path, {"score": 1})
    assert not (tmp_path / "result.json").exists()
    run_folder.write_result(tmp_path, {"score": 1})
    assert json.loads((tmp_path / "result.json").read_text()) == {"score": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_is_shown_as_a_person_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder.short(tmp_path / "outputs" / "run") == str(Path("outputs", "run"))
    assert run_folder.short(Path("/elsewhere/run")) == "/elsewhere/run"
