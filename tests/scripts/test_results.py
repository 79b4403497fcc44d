"""`make results` as a whole, in a copy of the required files of the project."""

import csv
import json
import math
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import matplotlib.figure
import pytest
from conftest import PROJECT

from mlplab.plots import canvas

Run = Callable[..., int]
DEVICE = {"name": "Intel(R) Xeon(R) CPU @ 2.10GHz", "type": "cpu", "threads": 1, "cores": 2}
MARKS = "".join(f"before\n<!-- {name} -->\nold\n<!-- /{name} -->\nafter\n" for name in ("results", "results in short"))


def entry(*percents: float, seconds: float = 10.0, missing: tuple[int, ...] = (), **more: object) -> dict[str, Any]:
    """Make an entry of measured.json."""
    return {
        "test_acc": {str(seed): percent / 100 for seed, percent in enumerate(percents)},
        "fit_s": {str(seed): seconds for seed in range(len(percents))},
        "config_hash": {str(seed): "hash" for seed in range(len(percents))},
        "missing": list(missing),
        "precision": "32-true",
        "versions": [{"torch": "2.15.0", "lightning": "2.6.6", "mlplab": "0.1.0"}],
        "devices": [DEVICE],
        **more,
    }


@pytest.fixture
def project(tmp_path: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, in which the scripts run."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT / "conf", copy / "conf")
    shutil.copytree(PROJECT / "scripts" / "results", copy / "scripts" / "results")
    shutil.copy(PROJECT / "train.py", copy)
    (copy / "README.md").write_text(MARKS)
    (copy / "scripts" / "results" / "measured.json").unlink()
    monkeypatch.setenv("MLPLAB_DATA", str(tiny_root))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `python scripts/results/main.py` with these arguments, or another script of its folder."""

    def results(*arguments: str, script: str = "main.py") -> int:
        folder = project / "scripts" / "results"
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [script, *arguments])
            patch.syspath_prepend(folder)
            code: object = 0
            try:
                runpy.run_path(str(folder / script), run_name="__main__")
            except SystemExit as ended:
                code = ended.code
            for path in folder.glob("*.py"):
                sys.modules.pop(path.stem, None)
        assert isinstance(code, int)
        return code

    return results


def _with_recipes(project: Path, recipes: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Replace the recipes by these, each with a published and a measured figure."""
    shutil.rmtree(project / "conf" / "experiment")
    (project / "conf" / "experiment").mkdir()
    for name, (published, _) in recipes.items():
        text = f"# @package _global_\n# Measured: old\npublished: {json.dumps(published)}\n"
        (project / "conf" / "experiment" / f"{name}.yaml").write_text(text)
    out = project / "outputs" / "results"
    out.mkdir(parents=True)
    (out / "measured.json").write_text(json.dumps({name: measured for name, (_, measured) in recipes.items()}))


def _rows(project: Path) -> dict[str, dict[str, str]]:
    text = (project / "outputs" / "results" / "results.csv").read_text()
    return {row["recipe"]: row for row in csv.DictReader(text.splitlines())}


ONE, MEAN = {"accuracy": "98.40"}, {"accuracy": "98.40", "n": 5}
FIVE = [98.4, 98.6, 98.5, 98.5, 98.5]  # 98.5 with a standard error of 0.032
VERDICTS = {
    "mnist_a": (ONE, entry(*[98.30] * 5), "reproduced", "5"),  # short by 0.10
    "mnist_b": (ONE, entry(*[98.30] * 4, 98.28), "short by 0.104", "5"),  # which two digits would not say
    "mnist_c": (ONE, entry(98.0, 98.4, 98.0, 98.4, 98.2), "reproduced", "5"),  # by the standard deviation, 0.2
    "fashion_d": (ONE, entry(*[98.15] * 5), "reproduced", "5"),  # short by 0.25
    "fashion_e": (ONE, entry(*[98.14] * 5), "short by 0.260", "5"),
    "mnist_f": (ONE, entry(*FIVE), "beaten", "5"),  # 98.5 - 2 * 0.032 = 98.44
    "mnist_g": (ONE, entry(98.3, 98.6, 98.4, 98.5, 98.45), "reproduced", "5"),  # 98.45 - 2 * 0.112 / sqrt(5) = 98.35
    "mnist_h": (ONE, entry(*[98.40] * 5), "reproduced", "5"),  # as good is not better
    "mnist_i": (MEAN | {"sd": "0.05"}, entry(*FIVE), "beaten", "5"),  # two errors of both are 0.077
    "mnist_j": (MEAN | {"sd": "0.1"}, entry(*FIVE), "reproduced", "5"),  # and 0.11 here
    "mnist_k": (ONE, entry(*[99.0] * 4), "incomplete", "4 of 5"),
    "mnist_l": (ONE, entry(*[99.0] * 5, missing=(5, 6)), "incomplete", "5 of 7"),
    "mnist_m": (ONE, entry(*[99.0] * 3, seconds=600), "incomplete", "3 of 5"),
    "mnist_n": (ONE, entry(*[99.0] * 3, seconds=601), "beaten", "3"),
    "mnist_o": (ONE, entry(98.28, seconds=601), "one run, short by 0.12", "1 of 3"),
    "mnist_p": (ONE, entry(98.41), "one run, above", "1 of 5"),
    "mnist_q": (ONE, entry(98.40), "one run, the same", "1 of 5"),
    "mnist_r": ({}, entry(98.0, 98.2), "", "2 of 5"),
}


def test_verdicts_table_and_picture(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[matplotlib.figure.Figure] = []
    png = canvas.png
    monkeypatch.setattr(canvas, "png", lambda figure: drawn.append(figure) or png(figure))  # type: ignore[func-returns-value]
    _with_recipes(project, {name: (published, measured) for name, (published, measured, *_) in VERDICTS.items()})
    assert run("--only-read") == 0

    rows = _rows(project)
    assert {name: row["verdict"] for name, row in rows.items()} == {name: case[2] for name, case in VERDICTS.items()}
    assert float(rows["mnist_f"]["test_acc_mean"]) == pytest.approx(0.985)
    assert float(rows["mnist_f"]["test_acc_sd"]) == pytest.approx(0.01 * math.sqrt(0.005))
    assert (rows["mnist_f"]["published_acc"], rows["mnist_r"]["published_acc"]) == ("0.984", "")
    lines = (project / "outputs" / "results" / "results.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert {line[0].strip("`"): line[5] for line in cells} == {name: case[3] for name, case in VERDICTS.items()}
    by_name = {line[0].strip("`"): line for line in cells}
    assert by_name["mnist_j"][2] == "98.40 ± 0.1, n = 5"
    assert by_name["mnist_f"][4] == "98.50 ± 0.07"
    assert by_name["mnist_n"][8] == "`python train.py -m experiment=mnist_n 'seed=range(0,3)'`"
    assert (
        "Trained on one core of an Intel Xeon, precision 32-true, torch 2.15.0, lightning 2.6.6, mlplab 0.1.0." in lines
    )

    (figure,) = drawn
    marks = {str(line.get_gid()): line for axes in figure.axes for line in axes.get_lines()}
    assert marks["measured mnist_f"].get_xdata()[0] == pytest.approx(1.5)  # type: ignore[index]
    assert marks["published mnist_f"].get_xdata()[0] == pytest.approx(1.6)  # type: ignore[index]
    assert "published mnist_r" not in marks
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["MNIST", "Fashion-MNIST"]


def test_recipes_are_trained_once_and_published(project: Path, run: Run) -> None:
    kept = project / "scripts" / "results" / "measured.json"
    kept.write_text(json.dumps({"mnist_128_adam": entry(*[97.0] * 5)}))
    assert run("mnist_128_adam", "fashion_128", "--seeds", "2") == 0
    paths = sorted((project / "outputs" / "sweeps").rglob("result.json"))
    results = [json.loads(path.read_text()) for path in paths]
    of_fashion = {str(result["seed"]): result for result in results if result["config"]["data"]["name"] == "fashion"}
    found = json.loads((project / "outputs" / "results" / "measured.json").read_text())["fashion_128"]
    assert found["test_acc"] == {seed: result["metrics"]["test/acc"] for seed, result in sorted(of_fashion.items())}
    assert found["config_hash"] == {seed: result["config_hash"] for seed, result in sorted(of_fashion.items())}
    assert found["devices"] == [results[0]["device"]]

    written = {path: path.stat().st_mtime_ns for path in paths}
    assert run("mnist_128_adam", "fashion_128", "--seeds", "3", "--only-read", "--publish") == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written
    published = json.loads(kept.read_text())
    assert published["fashion_128"]["missing"] == [2]
    assert published["mnist_128_adam"]["is_earlier"], "two of three seeds are a check of the five before"
    assert list(published["mnist_128_adam"]["check"]) == ["0", "1"]
    mean = 50 * sum(found["test_acc"].values())
    header = (project / "conf" / "experiment" / "fashion_128.yaml").read_text()
    assert f"# Measured: {mean:.2f} ± " in header
    assert "% test accuracy, n = 2, " in header
    earlier = (project / "conf" / "experiment" / "mnist_128_adam.yaml").read_text()
    assert (
        "# Measured: 97.00 ± 0.00 % test accuracy, n = 5, trained in 10 s a seed on one core of an Intel Xeon, with"
    ) in earlier
    before, _, after = (project / "README.md").read_text().partition("<!-- results -->\n")
    assert before == "before\n"
    assert after.startswith("| recipe ")
    full, rest = after.split("<!-- /results -->\nafter\n")
    assert "published or reference" in full.splitlines()[0]
    assert rest.splitlines()[2].startswith("| recipe | published or reference |")
    (project / "README.md").write_text("no marks")
    assert run("fashion_128", "--only-read", "--publish") == 4


def test_what_goes_wrong_is_said(project: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("mnist_80", "--only-read") == 2
    assert "mnist_80: not a recipe of conf/experiment; did you mean mnist_800?" in capsys.readouterr().err
    assert run("mnist_800", "--only-read") == 4
    said = capsys.readouterr()
    assert "mnist_800: no complete run of the current recipe" in said.out
    assert "no results yet" in said.err
    assert not (project / "outputs").exists()
    (project / "outputs" / "results").mkdir(parents=True)
    (project / "outputs" / "results" / "measured.json").write_text("{")
    assert run("mnist_800", "--only-read") == 4
    assert "it is damaged" in capsys.readouterr().err


def test_differences_to_a_baseline_go_into_the_page(
    project: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "README.md").write_text("before\n<!-- tricks -->\nold\n<!-- /tricks -->\nafter\n")
    assert run(str(tmp_path / "nothing"), script="sweep.py") == 4
    assert "there is no such folder" in capsys.readouterr().err
    sweep = made_up.Sweep(tmp_path / "three")
    for trick, gain in (("plain", 0.0), ("ema", 0.01), ("swa", 0.02)):
        for seed in range(3):
            sweep.add(made_up.result(made_up.config(seed=seed, trick=trick), 0.9 + gain, 0.9))
    assert run(str(tmp_path / "three"), script="sweep.py") == 0
    before, table, after = re.split(r"<!-- /?tricks -->\n", (project / "README.md").read_text())
    assert (before, after) == ("before\n", "after\n")
    assert [line.split(" | ")[1] for line in table.splitlines()[2:4]] == ["+2.00", "+1.00"]
    assert table.endswith("\n\n6 pairs of runs of 5 epochs, precision 32-true.\n")


def test_the_answer_of_a_sweep_goes_into_the_page(project: Path, run: Run, tmp_path: Path) -> None:
    (project / "README.md").write_text("before\n<!-- sweep -->\nold\n<!-- /sweep -->\nafter\n")
    sweep = made_up.Sweep(tmp_path / "two")
    for hidden, gain in (([128], 0.0), ([512], 0.02)):
        for seed in range(3):
            sweep.add(made_up.result(made_up.config(seed=seed, model__hidden=hidden), 0.9 + gain + seed / 1000, 0.9))
    assert run(str(tmp_path / "two"), script="sweep.py") == 0
    _, block, after = re.split(r"<!-- /?sweep -->\n", (project / "README.md").read_text())
    assert after == "after\n"
    assert [line.split(" | ")[1] for line in block.splitlines()[2:4]] == ["512", "128"]
    assert "hidden: 512 leads 128 by 2.00 points" in block


def test_headers_and_pages_have_what_is_kept_as_measured(
    project: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slow recipes are left out unless they are named."""
    kept = project / "scripts" / "results" / "measured.json"
    shutil.copy(PROJECT / "scripts" / "results" / "measured.json", kept)
    shutil.copy(PROJECT / "README.md", project)
    assert run("--only-read", "--publish") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "Published: "
    assert json.loads(kept.read_text()) == json.loads((PROJECT / "scripts" / "results" / "measured.json").read_text())
    (left_out,) = [line for line in said if line.startswith("Left out, over 120 s per seed")]
    assert "mnist_deep_big" in left_out
    assert "mnist_800," not in left_out
