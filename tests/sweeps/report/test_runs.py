"""Reading of run folders, intact and damaged."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from made_up import Sweep, config, result
from rich.console import Console

from mlplab.runs.result import damage as result_damage
from mlplab.runs.result import read_result
from mlplab.sweeps.report import Report
from mlplab.sweeps.report.runs import read_runs


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def shown(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    report.show(console)
    return console.file.getvalue()


DAMAGED = {  # more of them: tests/runs/test_result.py
    "empty": "",
    "truncated": json.dumps(result(config()))[:500],
    "null": "null",
    "no unicode": b"\xff\xfe\x00\x80",
    "zeros": bytes(4096),
    "nested": nested(100_000),
    "val acc is text": result(config(), metrics={"val/acc": "0.97", "test/acc": 0.96}),
    "seed is infinite": json.dumps(result(config())).replace('"seed": 0', '"seed": 1e999', 1),
    "rate has too many digits": json.dumps(result(config())).replace("27500.0", "1" * 5000),
}


def test_damaged_results_are_listed_and_the_others_count(tmp_path: Path) -> None:
    """A sweep trains them again, because it uses `read_result`."""
    sweep = Sweep(tmp_path)
    for seed in range(2):
        sweep.add(result(config(seed=seed)))
    folders = [sweep.add(content, name=name) for name, content in DAMAGED.items()]
    assert [folder.name for folder in folders if read_result(folder) or not result_damage(folder)] == []
    report = Report.of(tmp_path)
    reasons = {run.name: run.reason for run in report.unfinished}
    assert set(reasons) == set(DAMAGED)
    assert {run.status for run in report.unfinished} == {"damaged"}
    assert all(reasons.values())
    assert reasons["val acc is text"] == "result.json: metrics.val/acc: must be a number from -3.5e+38 to 3.5e+38"
    assert [len(configuration.runs) for configuration in report.table.configurations] == [2]
    report.write(pictures=False)
    assert "empty: damaged: " in shown(report)


def test_numbers_at_the_ends_of_their_ranges_are_shown_and_drawn(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for acc, number in ((0.0, 0.0), (1.0, 3.4e38)):
        history = [{"epoch": epoch, "val/loss": number, "train/acc": acc} for epoch in (1, 2)]
        one = config(model__hidden=[int(number)], optimizer__lr=number)
        sweep.add(result(one, acc, acc, history=history, fit_s=number, images_per_s=number))
    report = Report.of(tmp_path)
    assert not report.unfinished
    assert (tmp_path / "curves.png") in report.write()
    assert f"{3.4e38:,.0f}" in shown(report)


def test_a_folder_named_result_json_and_a_broken_link_are_damaged_runs(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    (sweep.add(name="folder") / "result.json").mkdir()
    (sweep.add(name="link") / "result.json").symlink_to("nowhere")
    complete, unfinished = read_runs(tmp_path)
    assert not complete
    reason = "result.json: result.json is missing, not a readable file, or larger than 67,108,864 bytes"
    assert [(run.name, run.status, run.reason) for run in unfinished] == [
        (name, "damaged", reason) for name in ("folder", "link")
    ]


def test_a_status_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    contents = ("", "null", "[]", "{}", b"\xff", nested(100_000), {"status": 7}, {"status": ["failed"]})
    for content in (*contents, {"status": "asleep"}):
        sweep.add(status=content)
    unfinished = [(run.status, run.reason) for run in read_runs(tmp_path)[1]]
    assert unfinished == [("damaged", "status.json cannot be read")] * 9


def test_what_became_of_runs_without_a_result(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = socket.gethostname()
    sweep = Sweep(tmp_path)
    for name, status in {
        "a": {"status": "failed", "reason": "ValueError: first\nsecond", "pid": gone.pid, "host": here},
        "b": {"status": "diverged", "reason": "the loss is not finite", "epoch": 3},
        "c": {"status": "interrupted", "epoch": 3},
        "d": {"status": "running", "epoch": 3, "pid": os.getpid(), "host": here},
        "e": {"status": "running", "pid": gone.pid, "host": here},
        "f": {"status": "running", "pid": gone.pid, "host": f"not-{here}"},
        "g": {"status": "running", "pid": 10**30, "host": here, "epoch": "[red]"},  # no number
        "h": {"status": "completed"},
        "i": {"status": "failed", "reason": 7},
        "k": {"status": "running", "pid": 10**30, "host": here},
    }.items():
        sweep.add(status=status, name=name)
    (sweep.add(name="j") / ".hydra").mkdir()
    report = Report.of(tmp_path)
    assert [(run.name, run.status, run.reason) for run in report.unfinished] == [
        ("a", "failed", "ValueError: first"),
        ("b", "diverged", "the loss is not finite"),
        ("c", "interrupted", "in epoch 3"),
        ("d", "running", "in epoch 3"),
        ("e", "killed", "its process no longer exists"),
        ("f", "running", "still running"),
        ("g", "damaged", "status.json cannot be read"),
        ("h", "damaged", "it has no result.json"),
        ("i", "damaged", "status.json cannot be read"),
        ("j", "not started", "it has no status.json"),
        ("k", "killed", "its process no longer exists"),
    ]
    text = shown(report)
    assert "No run is complete." in text
    assert f"a: failed: ValueError: first ({tmp_path / 'a' / 'train.log'})" in text
    assert "j: not started: it has no status.json (no log)" in text


def test_folders_are_found_at_any_depth_and_named_as_they_can_be_shown(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    names = ["lr=0.1,hidden=[5,12]", "[red]", "a/b/c d", "e\nf", ".hidden/run"]
    for name in names:
        sweep.add(result(config()), name=name)
    sweep.add(status={"status": "failed", "reason": "[bold]x[/bold] \x1b[31m"}, name="[/red]\x1b[2J")
    (tmp_path / "empty").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path)
    report = Report.of(tmp_path)
    assert [run.name for run in report.complete] == ["[red]", "a/b/c d", "e f", "lr=0.1,hidden=[5,12]"]
    assert "[/red]?[2J: failed: [bold]x[/bold] ?[31m (" in shown(report)
    (run,) = Report.of(tmp_path / "[red]").complete  # the folder of a run itself
    assert run.name == "."


def test_pipes_and_what_is_too_large_are_not_read(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for number, name in enumerate(("result.json", "status.json", ".hydra/config.yaml") * 2):
        path = sweep.add(name=str(number)) / name
        path.parent.mkdir(exist_ok=True)
        if number < 3:
            os.mkfifo(path)
        else:
            path.write_text("a: [" + "1, " * 10**6 + "1]")  # the parser of a configuration takes a minute for it
    started = time.process_time()
    assert [run.status for run in read_runs(tmp_path)[1]] == ["damaged", "damaged", "not started"] * 2
    assert time.process_time() - started < 30
