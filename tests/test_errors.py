"""Programs whose standard output cannot be written, as `python train.py --help > /dev/full`."""

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import Program, Run, files_of

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
SAID = "standard output: cannot be written: No space left on device. The program goes on without it."


def to_a_full_disk() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),  # without a buffer a print fails, and otherwise the end
    [(["--help"], "1"), (["--help"], ""), (["data=digits", "--cfg=job"], ""), (["install=bash"], "")],
)
def test_what_is_asked_of_train_py(program: Program, arguments: list[str], unbuffered: str) -> None:
    program.environment["PYTHONUNBUFFERED"] = unbuffered
    finished = program.run(*arguments, before=to_a_full_disk)
    assert (finished.code, finished.err.splitlines()) == (7, [SAID])


@pytest.mark.parametrize(
    ("script", "arguments", "files"),
    [
        ("evaluate", ["--csv=answers.csv"], ["answers.csv"]),
        ("report", ["--no-pictures"], ["report.csv", "report.md", "runs.csv"]),
    ],
)
def test_a_script_writes_its_files(
    program: Program, digits_run: Run, tmp_path: Path, script: str, arguments: list[str], files: list[str]
) -> None:
    run = shutil.copytree(digits_run.folder, tmp_path / "run")
    given = tmp_path if script == "report" else run
    finished = program.run(given, *arguments, script=f"scripts/{script}.py", before=to_a_full_disk)
    assert finished.code == 7
    said = finished.err.splitlines()
    assert said.count(SAID) == 1
    assert set(said) - {SAID} <= set(files)
    assert all((tmp_path / file).read_text() for file in files)


def test_an_error_keeps_its_code(program: Program, digits_run: Run) -> None:
    finished = program.run(digits_run.folder, "a.png", script="scripts/predict.py", before=to_a_full_disk)
    assert finished.code == 3
    assert finished.err.startswith("a.png: does not exist")


@pytest.mark.parametrize("kind", [[], ["-m", "seed=0,1", "sweep_name=two"]])
def test_a_run_or_a_sweep_is_completed(program: Program, tmp_path: Path, kind: list[str], digits_run: Run) -> None:
    finished = program.run(*kind, "data=digits", "trainer.max_epochs=1", before=to_a_full_disk)
    assert finished.code == 0
    assert [line for line in finished.err.splitlines() if not line.startswith("[")] == [SAID]
    results = [*tmp_path.rglob("result.json")]
    assert len(results) == max(1, len(kind) - 1)
    names = {name for name in files_of(digits_run.folder) if "events" not in name}
    for result in results:
        assert json.loads(result.read_text())["status"] == "completed"
        assert names - {".hydra/hydra.yaml", ".hydra/overrides.yaml"} <= set(files_of(result.parent))
    if not kind:
        assert "test accuracy" in (results[0].parent / "train.log").read_text()


def test_standard_error_may_be_full_as_well(program: Program, digits_run: Run) -> None:
    def both() -> None:
        to_a_full_disk()
        os.dup2(1, 2)

    assert program.run(digits_run.folder, "--test", "0", script="scripts/predict.py", before=both).code == 7
    assert program.run(digits_run.folder, "a.png", script="scripts/predict.py", before=both).code == 3
