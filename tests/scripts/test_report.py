import csv
from pathlib import Path

import matplotlib
import pytest
from conftest import Program, Script, imported
from made_up import OPTIMIZERS, Sweep, config, result

from mlplab.sweeps.report import terminal
from mlplab.sweeps.report.conclusions import MOST_SENTENCES


def test_500_runs_are_reported_without_torch_and_hydra(program: Program, tmp_path: Path) -> None:
    widths = [[width] for width in range(16, 416, 16)]
    Sweep(tmp_path / "big").grid(range(5), model__hidden=widths, optimizer=[*OPTIMIZERS.values(), {"name": "Adagrad"}])
    program.environment |= {"PYTHONPROFILEIMPORTTIME": "1", "MPLCONFIGDIR": matplotlib.get_configdir()}
    finished = program.run("big", script="scripts/report.py")
    assert finished.code == 0, finished.err
    assert {"mlplab", "matplotlib", "scipy"} <= imported(finished.err)
    assert imported(finished.err).isdisjoint({"torch", "torchvision", "lightning", "hydra", "omegaconf"})

    lines = finished.out.splitlines()
    assert sum(line.split()[:1] == [str(rank)] for rank, line in enumerate(lines[3:], 1)) == terminal.MOST_ROWS
    assert "  60 more: report.md" in lines
    assert sum(" 5 seeds" in line for line in lines) == MOST_SENTENCES
    assert any(line.startswith("  The 8 smallest differences are left out: ") for line in lines)
    for name, rows in (("report.csv", 100), ("runs.csv", 500)):
        with (tmp_path / "big" / name).open(newline="") as file:
            assert len(list(csv.DictReader(file))) == rows
    assert len((tmp_path / "big" / "report.md").read_text().splitlines()) > 100
    # The widths are too many for a heat map.
    assert {path.stem for path in (tmp_path / "big").glob("*.png")} == {"factors", "time", "curves"}


def test_the_report_is_printed(script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "sweep")
    for optimizer, accs in (("SGD", [0.95, 0.96, 0.94]), ("Adam", [0.96, 0.972, 0.951])):
        for seed, acc in enumerate(accs):
            sweep.add(result(config(seed=seed, optimizer=OPTIMIZERS[optimizer]), acc, acc - 0.01))
    sweep.add(status={"status": "failed", "reason": "[bold]no[/bold]"}, name="lr=[1,2]")
    monkeypatch.setenv("COLUMNS", "60")
    finished = script("report.py", "sweep", "--no-pictures")
    assert (finished.code, finished.err) == (0, "")
    assert [line.rstrip() for line in finished.out.splitlines()] == [
        "                 val       test            train",
        "rank optimizer acc %   sd acc %   sd seeds     s images/s",
        "─────────────────────────────────────────────────────────",
        "   1 Adam      96.10 1.05 95.10 1.05     3  10.0   27,500",
        "   2 SGD       95.00 1.00 94.00 1.00     3  10.0   27,500",
        "",
        "Notes",
        "  1 run is incomplete, see below; configurations are ranked",
        "    by their complete runs.",
        "",
        "Differences in validation accuracy",
        "  optimizer: Adam is better than SGD by 1.10 points (0.85 to",
        "    1.35, 3 seeds).",
        "  1 point is 1 % of validation accuracy; the intervals, over",
        "    pairs of runs with the same seed, hold with 95%",
        "    confidence.",
        "",
        "Not complete",
        "  lr=[1,2]: failed: [bold]no[/bold] (sweep/lr=[1,2]/train.log)",
        "",
        "Written",
        "  sweep/report.md",
        "  sweep/report.csv",
        "  sweep/runs.csv",
    ]


@pytest.mark.parametrize(("folder", "says"), [("none", "there is no such folder"), (".", "holds no runs")])
def test_a_folder_without_runs_is_refused_in_one_line(script: Script, folder: str, says: str) -> None:
    finished = script("report.py", folder)
    assert (finished.code, finished.out) == (4, "")
    assert finished.err == f"{folder}: {says}. Runs are in outputs/, sweeps in outputs/sweeps/.\n"


def test_a_folder_that_cannot_be_written_is_reported_anyway(script: Script, tmp_path: Path) -> None:
    Sweep(tmp_path / "sweep").add(result(config()))
    (tmp_path / "sweep" / "report.md").mkdir()
    finished = script("report.py", "sweep", "--no-pictures")
    assert finished.code == 0
    assert "97.00" in finished.out
    assert "Written" not in finished.out
    assert finished.err == "warning: sweep: the report cannot be written: Is a directory.\n"


def test_names_that_are_no_unicode_are_shown(script: Script, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "sweep\udcff")
    sweep.add(result(config()), name="run\udcfe")
    sweep.add(status={"status": "failed"}, name="lost\udcfd")
    finished = script("report.py", sweep.folder, "--no-pictures")
    assert (finished.code, finished.err) == (0, "")
    assert "lost?: failed: no reason was recorded" in finished.out
    assert (sweep.folder / "report.md").read_text().startswith("# Report of sweep?\n")
