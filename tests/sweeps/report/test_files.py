import csv
import io
import re
import statistics
from pathlib import Path

import pytest
from made_up import OPTIMIZERS, Sweep, config, result

from mlplab.sweeps.report import Report, files
from mlplab.sweeps.report.cells import Section


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    sweep = Sweep(tmp_path / "sweep")
    sweep.grid(range(3), model__hidden=[[64], [128, 128]], optimizer__lr=[0.1, 1 / 3])
    return sweep


def test_report_csv_has_full_precision(sweep: Sweep) -> None:
    report = Report.of(sweep.folder)
    report.write(pictures=False)
    found = rows(sweep.folder / "report.csv")
    assert list(found[0])[:3] == ["rank", "hidden", "lr"]
    for rank, (row, configuration) in enumerate(zip(found, report.table.configurations, strict=True), 1):
        hidden = {(64,): "64", (128, 128): "128x128"}[configuration.values[0]]
        assert (row["rank"], row["hidden"], float(row["lr"])) == (str(rank), hidden, configuration.values[1])
        for split in ("val", "test"):
            accs = [run.metrics[f"{split}/acc"] for run in configuration.runs]
            assert float(row[f"{split}_acc_mean"]) == statistics.fmean(accs)
            assert float(row[f"{split}_acc_sd"]) == statistics.stdev(accs)
        assert row["seeds"] == "3"
        assert float(row["fit_s"]) == statistics.fmean(run.fit_s for run in configuration.runs)
        assert float(row["images_per_s"]) == statistics.fmean(run.images_per_s for run in configuration.runs)


@pytest.mark.parametrize("text", ["=1+1", "@SUM(1)", "+1+1", "-1+1", "-cmd", "\uff1d1+1"])
def test_what_a_spreadsheet_would_compute_is_text(text: str, tmp_path: Path) -> None:
    """Tested in names of folders, settings and metrics, and in reasons."""
    sweep = Sweep(tmp_path)
    for acc, activation in ((0.9, text), (0.8, "ReLU")):
        sweep.add(result(config(model__activation=activation) | {text: acc}, acc), name=f"{text}{acc}")
    sweep.add(status={"status": "failed", "reason": text}, name="failed")
    Report.of(tmp_path).write(pictures=False)
    for name in ("report.csv", "runs.csv"):
        with (tmp_path / name).open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert f"'{text}" in cells
        assert not [cell for cell in cells if cell.startswith(text[0])]


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for steps, rate in ((-1, -0.5), (-2, None)):
        sweep.add(result(config(trainer__max_steps=steps, optimizer__lr=rate)))
    Report.of(tmp_path).write(pictures=False)
    found = {(row["max_steps"], row["lr"]) for row in rows(tmp_path / "report.csv")}
    assert found == {("-1", "-0.5"), ("-2", "-")}


def test_runs_csv_has_every_run(sweep: Sweep) -> None:
    repeated = sweep.add(result(config(seed=0, model__hidden=[64], optimizer__lr=0.1), 0.5), name="again, =1+1")
    odd = "it said: \"no\", and\t'=cmd'"
    failed = sweep.add(status={"status": "failed", "reason": odd}, name="failed")
    (failed / ".hydra").mkdir()
    (failed / ".hydra" / "config.yaml").write_text("model: {hidden: [7, 7]}\n")
    report = Report.of(sweep.folder)
    report.write(pictures=False)
    found = {row["folder"]: row for row in rows(sweep.folder / "runs.csv")}
    assert len(found) == 14
    for run in report.complete:
        row = found[run.name]
        assert int(row["seed"]) == run.seed
        assert {key: float(row[key]) for key in run.metrics} == run.metrics
        assert (float(row["fit_s"]), int(row["best_epoch"])) == (run.fit_s, run.best_epoch)
    assert found[repeated.name]["status"] == "completed"
    assert found["000"]["status"] == "repeated"
    row = found["failed"]
    assert (row["status"], row["reason"], row["seed"]) == ("failed", odd.replace("\t", " "), "")
    assert row["hidden"] == "7x7"


def test_markdown_has_table_notes_and_sentences(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "my_sweep")
    for optimizer, accs in (("SGD", [0.95, 0.96, 0.94]), ("Adam", [0.96, 0.972, 0.951])):
        for seed, acc in enumerate(accs):
            sweep.add(result(config(seed=seed, optimizer=OPTIMIZERS[optimizer]), acc, acc - 0.01))
    sweep.add(status={"status": "failed", "reason": "*a* | <b> [c](d) `e`"}, name="x|y")
    report = Report.of(sweep.folder)
    report.write(pictures=False)
    sentences = report.conclusions.sentences
    log = re.sub(r"([\\|*_`<[])", r"\\\1", str(sweep.folder / "x|y" / "train.log"))
    assert (
        (sweep.folder / "report.md").read_text()
        == rf"""# Report of my\_sweep

| rank | optimizer | val acc % | sd | test acc % | sd | seeds | train s | images/s |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| 1 | Adam | 96.10 | 1.05 | 95.10 | 1.05 | 3 | 10.0 | 27,500 |
| 2 | SGD | 95.00 | 1.00 | 94.00 | 1.00 | 3 | 10.0 | 27,500 |

## Notes

- 1 run is incomplete, see below; configurations are ranked by their complete runs.

## Differences in validation accuracy

- {sentences[0]}
- {sentences[1]}

## Not complete

- x\|y: failed: \*a\* \| \<b> \[c](d) \`e\` ({log})
"""
    )


def test_signs_of_markdown_in_settings_keep_the_cells_apart(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for activation in ("a|b", "<script>", ""):
        sweep.add(result(config(model__activation=activation)))
    Report.of(tmp_path).write(pictures=False)
    table = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}
    assert "<script>" not in "".join(table).replace(r"\<", "")


def test_a_command_can_be_copied_from_markdown() -> None:
    command = "python train.py 'model.hidden=[8,8]'"
    section = Section("Winner", lines=["[8,8]", "and more"], command=command)
    assert files.content(section) == ["- \\[8,8]\n- and more", f"```\n{command}\n```"]


def test_markdown_shows_the_pictures(sweep: Sweep) -> None:
    written = Report.of(sweep.folder).write()
    pictures = ["factors.png", "heatmap.png", "time.png", "curves.png"]
    assert [path.name for path in written] == ["report.md", "report.csv", "runs.csv", *pictures]
    text = (sweep.folder / "report.md").read_text()
    for name in pictures:
        assert (sweep.folder / name).read_bytes().startswith(b"\x89PNG")
        assert f"![{name}]({name})" in text


def test_a_report_changes_nothing_that_it_reports(sweep: Sweep) -> None:
    first = {path: path.read_bytes() for path in Report.of(sweep.folder).write(pictures=False)}
    assert {path: path.read_bytes() for path in Report.of(sweep.folder).write(pictures=False)} == first


def test_without_validation_no_epoch_is_called_the_best(sweep: Sweep) -> None:
    sweep.add(result(config(model__hidden=[7]), val_acc=None), name="alone")
    Report.of(sweep.folder).write(pictures=False)
    found = {row["folder"]: row["best_epoch"] for row in rows(sweep.folder / "runs.csv")}
    assert found.pop("alone") == ""
    assert set(found.values()) == {"4"}
