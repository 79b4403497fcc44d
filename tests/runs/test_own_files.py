"""The user's own files are never deleted or replaced, whatever command is given their folder."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import Command, Program, Run, files_of

from mlplab.data import datasets

OWN = {
    "curves.png": b"a person's picture",
    "report.md": b"# Report of my own\n",
    "status.json": b'{"status": "running"}',
    "result.json": b"{}",
    "train.log": b"a line\n",
    "checkpoints/last.ckpt": b"a network",
    ".hydra/config.yaml": b"seed: 3\n",
    ".hydra/.old.tmp": b"kept",
    ".lock": b"a note",
    ".notes.tmp": b"kept",
    "events.out.tfevents.1.elsewhere": b"of another program",
}


def _with_files_of_its_own(folder: Path, *names: str) -> dict[str, bytes]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(OWN[name])
    return files_of(folder)


SWEEP = ["-m", "hydra.sweep.dir=mine", "seed=0,1"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [*((["hydra.run.dir=mine"], name) for name in OWN), *((SWEEP, name) for name in ("report.md", "status.json"))],
)
def test_a_folder_with_files_of_its_own_is_refused(
    command: Command, tmp_path: Path, arguments: list[str], name: str
) -> None:
    before = _with_files_of_its_own(tmp_path / "mine", name)
    finished = command(*arguments, "data=digits", "trainer.max_epochs=1")
    assert finished.code == 2, finished.err
    assert (
        finished.err
        == f"mine: holds {name.partition('/')[0]}, which mlplab did not write. Choose another folder, or move it.\n"
    )
    assert files_of(tmp_path) == {f"mine/{path}": content for path, content in before.items()}


def test_what_a_start_that_failed_left_is_no_obstacle(program: Program, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.IDX_DATASETS["mnist"].sha256:
        (raw / name).write_text("damaged")
    assert program.run("hydra.run.dir=run", f"data.root={tmp_path}").code == 3
    assert (tmp_path / "run" / ".hydra").exists()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    finished = program.run("data=digits", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert finished.code == 0, finished.err
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_what_lies_beside_a_run_stays(digits_run: Run, program: Program, tmp_path: Path) -> None:
    run = Path(shutil.copytree(digits_run.folder, tmp_path / "run"))
    names = [
        "events.out.tfevents.1.elsewhere",
        ".notes.tmp",
        "report.md",
        "curves.png",
        "checkpoints/last.ckpt.bak",
        ".hydra/.old.tmp",
    ]
    OWN["checkpoints/last.ckpt.bak"] = b"a copy"
    before = _with_files_of_its_own(run, *names)
    finished = program.run("resume=run", "trainer.max_epochs=21")
    assert finished.code == 0, finished.err
    assert "holds curves.png, which mlplab did not write and will not replace" in finished.out + finished.err
    assert {name: before[name] for name in names} == {name: files_of(run)[name] for name in names}


@pytest.mark.parametrize(
    ("script", "arguments", "name"),
    [
        ("report", ["runs"], "report.csv"),
        ("evaluate", ["runs/run", "--pictures"], "run/mistakes.png"),
        ("evaluate", ["best.ckpt", "--pictures"], "../confusion.png"),
        ("predict", ["runs/run", "--test", "0", "--picture"], "run/predictions.png"),
        ("show", ["data=digits"], "../outputs/data/digits/means.png"),
    ],
)
def test_a_script_replaces_its_own_files_alone(
    digits_run: Run, program: Program, tmp_path: Path, script: str, arguments: list[str], name: str
) -> None:
    shutil.copytree(digits_run.folder, tmp_path / "runs" / "run")
    shutil.copy(digits_run.folder / "checkpoints" / "best.ckpt", tmp_path)
    (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "runs" / name).write_bytes(b"a person's")
    before = files_of(tmp_path)
    finished = program.run(*arguments, script=f"scripts/{script}.py")
    assert finished.code == 2, finished.err
    assert f"holds {Path(name).name}, which mlplab did not write and will not replace" in finished.err
    assert files_of(tmp_path) == before


def test_a_report_of_one_run_does_not_replace_its_curves(digits_run: Run, program: Program, tmp_path: Path) -> None:
    run = Path(shutil.copytree(digits_run.folder, tmp_path / "run"))
    before = files_of(run)
    finished = program.run("run", script="scripts/report.py")
    assert finished.code == 2
    assert "run: is a single run" in finished.err
    assert "test" in finished.out
    assert files_of(run) == before


@pytest.mark.parametrize("name", ["result.json", ".hydra/config.yaml"])
def test_a_pipe_in_place_of_a_file_is_named(digits_run: Run, program: Program, tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(digits_run.folder, tmp_path / "run"))
    (run / name).unlink()
    os.mkfifo(run / name)
    finished = program.run("resume=run", "trainer.max_epochs=21")
    assert finished.code in (2, 4), finished.err
    assert Path(name).name in finished.err
    assert len(finished.err.splitlines()) <= 2
