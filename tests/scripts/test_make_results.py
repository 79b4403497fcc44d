"""`make results` as a whole: a recipe trained on tiny data, its page, and its figures in a copy of the project."""

import json
import shutil
from pathlib import Path

import headers
import main as script
import measured
import page
import pytest
import sweeps
from conftest import PROJECT

from mlplab.errors import ConfigError

NAME = "mnist_128_adam"


@pytest.fixture
def project(tmp_path: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What of it is needed, in whose folder everything happens."""
    copy = tmp_path / "project"
    (copy / "scripts" / "results").mkdir(parents=True)
    shutil.copytree(PROJECT / "conf", copy / "conf")
    for name in ("train.py", "README.md"):
        shutil.copy(PROJECT / name, copy)
    monkeypatch.setattr(sweeps, "PROJECT", copy)
    monkeypatch.setenv("MLPLAB_DATA", str(tiny_root))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(copy)
    return copy


def test_recipes_are_trained_once_read_and_published(project: Path) -> None:
    out = project / "outputs" / "results"
    assert script.make([NAME], 2, only_read=False, publish=False, out=out) == 0
    assert {path.name for path in out.iterdir()} == {"results.md", "results.csv", "results.png", "measured.json"}
    paths = sorted(sweeps.folder(NAME).rglob("result.json"))
    results = {result["seed"]: result for result in (json.loads(path.read_text()) for path in paths)}
    entry = measured.load(out / "measured.json")[NAME]
    assert entry.test_acc == {seed: results[seed]["metrics"]["test/acc"] for seed in (0, 1)}
    assert entry.config_hash == {seed: results[seed]["config_hash"] for seed in (0, 1)}
    assert entry.missing == []
    assert entry.devices == [results[0]["device"]]
    assert f"| {page.accuracy(entry)} | 2 of 5 | incomplete |" in (out / "results.md").read_text()

    (out / "results.csv").write_text("a person's")
    with pytest.raises(ConfigError, match=r"holds results\.csv, which mlplab did not write"):
        script.make([NAME], 2, only_read=True, publish=False, out=out)
    assert (out / "results.csv").read_text() == "a person's"
    (out / "results.csv").unlink()

    changed = {path: path.stat().st_mtime_ns for path in paths}
    readme, header = project / "README.md", sweeps.experiment(NAME)
    before = readme.read_text(), header.read_text()
    assert script.make([NAME], 2, only_read=False, publish=True, out=out) == 0
    assert {path: path.stat().st_mtime_ns for path in sweeps.folder(NAME).rglob("result.json")} == changed
    assert measured.load(project / "scripts" / "results" / "measured.json") == {NAME: entry}
    assert (project / "scripts" / "results" / "results.png").read_bytes().startswith(b"\x89PNG")
    assert readme.read_text() == headers.with_table(before[0], {NAME: entry}) != before[0]
    assert header.read_text() == headers.with_fields(before[1], headers.fields(entry)) != before[1]
    assert f"# Measured:  {page.accuracy(entry)} % test accuracy, n = 2 (seeds 0 to 1)\n" in header.read_text()
