"""Recipes beside what was published: verdicts, table, picture, and where the figures are written."""

import csv
import json
import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import headers
import main as script
import measured
import page
import pytest
import sweeps
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from measured import Measured
from published import RECIPES, Recipe

from mlplab.errors import CheckpointError, ConfigError

OPEN, CLOSE = "<!-- results -->", "<!-- /results -->"
DEVICE: measured.Device = {"name": "Intel(R) Xeon(R) CPU @ 2.10GHz", "type": "cpu", "threads": 1, "cores": 2}


def entry(*percents: float, seconds: float = 10.0, missing: tuple[int, ...] = ()) -> Measured:
    seeds = range(len(percents))
    return Measured(
        test_acc={seed: percent / 100 for seed, percent in zip(seeds, percents, strict=True)},
        fit_s=dict.fromkeys(seeds, seconds),
        config_hash=dict.fromkeys(seeds, "hash"),
        missing=list(missing),
        precision="32-true",
        versions=[{"torch": "2.15.0", "lightning": "2.6.6", "mlplab": "0.1.0"}],
        devices=[DEVICE],
    )


PUBLISHED = Recipe("a network", 10, Decimal("98.40"))


@pytest.mark.parametrize(
    ("name", "percents", "expected"),
    [
        ("mnist_800", [98.30] * 5, "reproduced"),  # short by 0.10
        ("mnist_800", [98.30] * 4 + [98.28], "short by 0.104"),  # more than 0.10, which two digits would not say
        ("mnist_800", [98.0, 98.4, 98.0, 98.4, 98.2], "reproduced"),  # by 0.2, which is the standard deviation
        ("fashion_wide", [98.15] * 5, "reproduced"),  # short by 0.25
        ("fashion_wide", [98.14] * 5, "short by 0.260"),
        ("mnist_800", [98.4, 98.6, 98.5, 98.5, 98.5], "beaten"),  # 98.5 - 2 * 0.071 / sqrt(5) = 98.44
        ("mnist_800", [98.3, 98.6, 98.4, 98.5, 98.45], "reproduced"),  # 98.45 - 2 * 0.112 / sqrt(5) = 98.35
        ("mnist_800", [98.40] * 5, "reproduced"),  # as good is not better
    ],
)
def test_a_verdict(name: str, percents: list[float], expected: str) -> None:
    assert measured.verdict(PUBLISHED, name, entry(*percents)) == expected


def test_a_difference_of_two_means_has_the_errors_of_both() -> None:
    """98.5 ± 0.071 of five runs is 0.1 above; two standard errors of both are 0.064 and sqrt(0.064^2 + 0.089^2)."""
    found = entry(98.4, 98.6, 98.5, 98.5, 98.5)
    others = replace(PUBLISHED, sd=Decimal("0.1"), runs=5)
    assert measured.verdict(replace(others, sd=Decimal("0.05")), "mnist_800", found) == "beaten"
    assert measured.verdict(others, "mnist_800", found) == "reproduced"


@pytest.mark.parametrize(
    ("found", "expected", "n"),
    [
        (entry(*[99.0] * 4), "incomplete", "4 of 5"),
        (entry(*[99.0] * 4, missing=(4,)), "incomplete", "4 of 5"),
        (entry(*[99.0] * 5, missing=(5, 6)), "incomplete", "5 of 7"),
        (entry(*[99.0] * 3, seconds=600), "incomplete", "3 of 5"),
        (entry(*[99.0] * 3, seconds=601), "beaten", "3"),
        (entry(*[99.0] * 3, seconds=601, missing=(3,)), "incomplete", "3 of 4"),
        (entry(98.28, seconds=601), "one run, short by 0.12", "1 of 3"),
        (entry(98.41), "one run, above", "1 of 5"),
        (entry(98.40), "one run, the same", "1 of 5"),
    ],
)
def test_a_verdict_takes_enough_seeds(monkeypatch: pytest.MonkeyPatch, found: Measured, expected: str, n: str) -> None:
    monkeypatch.setitem(RECIPES, "mnist_800", PUBLISHED)
    assert f"| {n} | {expected} |" in page.table({"mnist_800": found}, with_commands=False)


def test_what_was_not_published_has_no_verdict() -> None:
    assert measured.verdict(Recipe("a network", 10), "mnist_98_fast", entry(98.0, 98.2)) == ""


def test_the_table_has_a_line_for_each_recipe_that_was_measured() -> None:
    entries = {
        "fashion_wide": entry(*[90.0, 90.2] * 3, seconds=123.4),
        "mnist_800": entry(98.5, 98.7, 98.5, 98.7, missing=(4,)),
    }
    heading, _, first, second = page.table(entries, with_commands=True).splitlines()
    assert [cell.strip() for cell in heading.strip("|").split("|")] == [*page.HEADINGS, "command"]
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells[0] == "`mnist_800`"  # in the order of the registry
    assert cells[2:8] == ["98.40", page.RECIPES["mnist_800"].source, "98.60 ± 0.12", "4 of 5", "incomplete", "10"]
    assert cells[8] == "`python train.py -m experiment=mnist_800 'seed=range(0,5)'`"
    assert "| 90.10 ± 0.11 | 6 | beaten | 123 |" in second
    assert "mnist_800x2" not in page.table(entries, with_commands=True)


def test_the_csv_has_the_figures_as_fractions() -> None:
    found = entry(98.6, 98.8, 98.7, 98.7, 98.7, seconds=9.87)
    (row,) = csv.DictReader(page.as_csv({"mnist_800": found}).splitlines())
    assert float(row["test_acc_mean"]) == pytest.approx(0.987)
    assert float(row["test_acc_sd"]) == pytest.approx(0.01 * math.sqrt(0.005))
    assert (row["published_acc"], row["verdict"], row["fit_s"], row["n"]) == ("0.984", "beaten", "9.87", "5")


def test_the_picture_has_a_dot_and_a_tick_for_each_recipe() -> None:
    entries = {
        "mnist_800": entry(98.5, 98.7, seconds=20),
        "mnist_98_fast": entry(98.0, 98.4, seconds=3),
        "fashion_wide": entry(90.0, 90.4, seconds=100),
    }
    figure = page.picture(entries)
    lines = {str(line.get_gid()): line for axes in figure.axes for line in axes.get_lines()}
    for name, found in entries.items():
        (x,), (y,) = lines[f"measured {name}"].get_data()
        assert (x, y) == pytest.approx((found.seconds, 100 - found.percent.mean))
    assert lines["published mnist_800"].get_ydata()[0] == pytest.approx(1.60)
    assert lines["published fashion_wide"].get_ydata()[0] == pytest.approx(10.71)
    assert "published mnist_98_fast" not in lines
    named = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert set(entries) <= named
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["MNIST", "Fashion-MNIST"]


def _close_together() -> dict[str, Measured]:
    """All recipes, of which several differ by less than a dot is wide."""
    errors_and_seconds = {
        "mnist_128_adam": (2.40, 3.5), "mnist_512x2_rmsprop": (1.58, 72), "mnist_98_fast": (1.82, 3.3),
        "mnist_800": (1.55, 70), "mnist_800x2": (1.53, 85), "mnist_keras_mlp": (1.56, 62),
        "mnist_affine_elastic": (1.15, 62), "mnist_800_elastic": (0.72, 430), "mnist_dropout_maxnorm": (0.85, 1500),
        "mnist_bn_noise": (0.83, 1650), "mnist_deep_big": (0.50, 3400), "fashion_128": (11.9, 6.5),
        "fashion_100": (12.1, 6), "fashion_256x128x100": (10.1, 48), "fashion_wide": (9.20, 180),
        "fashion_wide_aug": (9.0, 190),
    }  # fmt: skip
    assert set(errors_and_seconds) == set(RECIPES)
    return {
        name: entry(*(100 - error + sd for sd in (-0.07, -0.03, 0, 0.03, 0.07)), seconds=seconds)
        for name, (error, seconds) in errors_and_seconds.items()
    }


def _mark(line: Line2D) -> Bbox:
    """What one dot or tick covers, in pixels."""
    assert line.axes is not None
    ((x, y),) = line.axes.transData.transform(line.get_xydata())
    width = line.get_markersize()
    height = width if line.get_marker() == "o" else line.get_markeredgewidth()
    across, up = (length / 72 * line.axes.figure.dpi / 2 for length in (width, height))
    return Bbox.from_extents(x - across, y - up, x + across, y + up)


def test_names_cover_neither_each_other_nor_dots_and_ticks() -> None:
    figure = page.picture(_close_together())
    figure.canvas.draw()  # type: ignore[attr-defined]
    names = {text: text.get_window_extent() for axes in figure.axes for text in axes.texts if text.get_text()}
    assert {text.get_text() for text in names} == set(RECIPES)
    for text, box in names.items():
        axes = text.axes
        assert axes is not None
        assert axes.bbox.contains(box.x0, box.y0)
        assert axes.bbox.contains(box.x1, box.y1)
        marks = [_mark(line) for line in axes.get_lines() if line.get_marker() in ("o", "_")]
        others = [other for another, other in names.items() if another is not text]
        assert not any(box.overlaps(other) for other in (*marks, *others)), text.get_text()


HEADER = """# @package _global_
# A network.
# Measured:  -
# Takes:     -
data:
  val_size: 0  # Measured: not this
"""


def test_figures_are_put_into_the_header_of_a_recipe() -> None:
    text = headers.with_fields(HEADER, headers.fields(entry(98.5, 98.7, 98.6, seconds=9.87)))
    assert text == HEADER.replace(
        "# Measured:  -", "# Measured:  98.60 ± 0.10 % test accuracy, n = 3 (seeds 0 to 2)"
    ).replace("# Takes:     -", "# Takes:     9.9 s of training on one core of an Intel Xeon")
    assert headers.with_fields(text, headers.fields(entry(98.5, 98.7, 98.6, seconds=9.87))) == text


def test_the_table_goes_between_its_marks_in_the_readme() -> None:
    readme = f"before\n{OPEN}\nold\n{CLOSE}\nafter\n"
    text = headers.with_table(readme, {"mnist_800": entry(98.5, 98.7)})
    assert text.startswith(f"before\n{OPEN}\n| recipe ")
    assert text.endswith(f"{CLOSE}\nafter\n")
    assert "old" not in text
    assert headers.with_table(text, {}) == f"before\n{OPEN}\n\n{CLOSE}\nafter\n"
    with pytest.raises(CheckpointError, match="must be in it"):
        headers.with_table("no marks", {"mnist_800": entry(98.5)})


def test_entries_of_other_recipes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results" / "measured.json"
    measured.kept(path, {"mnist_800": entry(98.5)})
    measured.kept(path, {"fashion_wide": entry(90.0)})
    again = measured.kept(path, {"mnist_800": entry(98.6)})
    assert measured.load(path) == again == {"mnist_800": entry(98.6), "fashion_wide": entry(90.0)}
    path.write_text("{")
    with pytest.raises(CheckpointError, match="it is damaged"):
        measured.load(path)


def _run(folder: Path, seed: int, acc: float, config_hash: str, **more: object) -> None:
    folder.mkdir(parents=True)
    config = {"data": {"name": "mnist"}, "trainer": {"precision": "bf16-mixed", "max_epochs": 2}, "seed": seed}
    result: dict[str, Any] = {
        "status": "completed", "metrics": {"test/acc": acc, "test/loss": 0.1}, "score": 0.1, "epochs": 2,
        "max_epochs": 2, "seed": seed, "config": config, "config_hash": config_hash, "fit_s": 5.0 + seed,
        "total_s": 9.0, "images_per_s": 1000.0, "best_epoch": 2, "history": [], "versions": {"torch": "2.15.0"},
        "precision": "bf16-mixed",
    } | more  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


def test_only_runs_of_the_recipe_as_it_is_now_are_read(tmp_path: Path) -> None:
    for seed, acc in enumerate((0.98, 0.99)):
        _run(tmp_path / f"seed={seed}", seed, acc, f"hash {seed}", device=DEVICE)
    _run(tmp_path / "old", 2, 0.5, "another")
    found = measured.read(tmp_path, lambda seed: f"hash {seed}", 3)
    assert found is not None
    assert (found.test_acc, found.missing, found.precision) == ({0: 0.98, 1: 0.99}, [2], "bf16-mixed")
    assert (found.seconds, found.devices) == (5.5, [DEVICE])
    assert measured.read(tmp_path, lambda seed: "none", 3) is None


def test_where_it_was_trained_is_what_the_runs_say(tmp_path: Path) -> None:
    devices = ({"device": {"name": "NVIDIA H100", "type": "cuda"}}, {}, {"device": DEVICE | {"threads": 2}})
    for seed, device in enumerate(devices):  # the second is of a version that did not note it
        _run(tmp_path / f"seed={seed}", seed, 0.98, "hash", **device)
    found = measured.read(tmp_path, lambda seed: "hash", 3)
    assert found is not None
    assert measured.place(found.devices) == "an NVIDIA H100 and an unknown machine and 2 cores of an Intel Xeon"
    assert measured.place([{"name": "AMD EPYC 9V74 80-Core Processor", "threads": 1}]) == "one core of an AMD EPYC 9V74"


def test_the_registry_is_the_recipes_of_conf() -> None:
    assert {path.stem for path in sweeps.experiment("x").parent.glob("*.yaml")} == set(RECIPES)
    assert {name.partition("_")[0] for name in RECIPES} == set(page.TITLES)


def test_what_is_trained_by_default_takes_under_two_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    names = script.chosen([], script.expected_s({"mnist_800": entry(98.5, seconds=121)}))
    assert "mnist_128_adam" in names
    assert not {"mnist_800", "mnist_deep_big"} & set(names)
    assert "mnist_deep_big" in capsys.readouterr().out
    assert script.chosen(["mnist_deep_big"], {}) == ["mnist_deep_big"]
    with pytest.raises(ConfigError, match=r"mnist_80: is not a recipe.*; did you mean mnist_800\?"):
        script.chosen(["mnist_80"], {})


def test_a_sweep_that_fails_is_said_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def train(name: str, seeds: int) -> int:
        asked.append((name, seeds))
        return 6 if name == "mnist_800" else 0

    monkeypatch.setattr(sweeps, "train", train)
    monkeypatch.setattr(measured, "read", lambda *_: entry(98.5, 98.6))
    assert script.make(["mnist_800", "fashion_wide"], 2, False, False, tmp_path) == 6
    assert asked == [("mnist_800", 2), ("fashion_wide", 2)]
    assert "mnist_800: its sweep ended with exit code 6" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"results.md", "results.csv", "results.png", "measured.json"}
    assert "`mnist_800`" in (tmp_path / "results.md").read_text()


def test_where_nothing_was_measured_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "SWEEPS", tmp_path)
    with pytest.raises(CheckpointError, match="nothing is measured yet"):
        script.make(["mnist_800"], 2, True, False, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_headers_and_readme_say_what_is_kept_as_measured() -> None:
    """Of the recipes as they are now."""
    entries = measured.load(sweeps.PROJECT / "scripts" / "results" / "measured.json")
    for name, found in page.known(entries).items():
        hash_of = sweeps.hashes(name)
        assert found.is_earlier or found.config_hash == {seed: hash_of(seed) for seed in found.config_hash}
        header = sweeps.experiment(name).read_text(encoding="utf-8")
        assert headers.with_fields(header, headers.fields(found)) == header
    readme = (sweeps.PROJECT / "README.md").read_text(encoding="utf-8")
    assert headers.with_table(readme, entries) == readme
