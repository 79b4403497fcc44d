"""Sweeps over the digits: new, joined, stopped, killed, repeated and extended."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faults
import in_process
import pytest
from conftest import PROJECT, Finished, Once, Program, imported
from waiting import wait_until

from mlplab.runs.result import write_status
from mlplab.sweeps import display, worker
from mlplab.sweeps import job as job_file

FAST = ("data=digits", "trainer.max_epochs=3", "trainer.accelerator=cpu", "show=none")
SWEEP = ("-m", *FAST, "jobs=1")
GRID = ("model.hidden=8,[16,8]", "seed=0,1")  # which most sweeps here are over, or begin with
FAULTY_PYTHON = os.pathsep.join([str(PROJECT / "tests" / "faulty_python"), os.environ.get("PYTHONPATH", "")])
TWO_AT_ONCE = ("jobs=2",)  # whatever cores there are

Sweep = Callable[..., Finished]


@dataclass(frozen=True)
class Job:
    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.folder / "result.json").read_text())

    @property
    def status(self) -> dict[str, Any]:
        return json.loads((self.folder / "status.json").read_text())


def jobs(folder: Path) -> dict[str, Job]:
    """Return the jobs by the readable part of their names."""
    return {path.parent.name.rpartition("-")[0]: Job(path.parent) for path in sorted(folder.glob("*/status.json"))}


def table(folder: Path) -> list[dict[str, str]]:
    """Return the report of a sweep, without times."""
    with (folder / "report.csv").open() as file:
        return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in csv.DictReader(file)]


def seeds(folder: Path) -> dict[tuple[str, ...], str]:
    """Return the number of seeds of each configuration in the report."""
    return {tuple(row[key] for key in ("hidden", "optimizer") if key in row): row["seeds"] for row in table(folder)}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Run `python train.py -m` in this process, which has imported torch; one job after another."""
    monkeypatch.chdir(tmp_path)
    return partial(in_process.train, *SWEEP)


@pytest.fixture(scope="session")
def whole(once: Once) -> tuple[Path, Finished]:
    """The folder and output of an undisturbed sweep, which draws the pictures of its runs."""
    words = (*SWEEP, "show=default", "model.hidden=8,[16,8],[8]", "seed=0,1", "sweep_name=grid")
    folder, finished = once("grid", lambda folder: in_process.train_in(folder, *words))
    return folder / "outputs" / "sweeps" / "grid", finished


@pytest.fixture
def grid(whole: tuple[Path, Finished], tmp_path: Path) -> Path:
    """A copy of the sweep's folder, to resume with `sweep_name=grid`."""
    return Path(shutil.copytree(whole[0], tmp_path / "outputs" / "sweeps" / "grid"))


def test_each_configuration_has_a_folder_and_the_end_is_an_answer(whole: tuple[Path, Finished]) -> None:
    """A configuration written in two ways is trained once."""
    folder, finished = whole
    found = jobs(folder)
    assert set(found) == {"hidden=8,seed=0", "hidden=8,seed=1", "hidden=16x8,seed=0", "hidden=16x8,seed=1"}
    for one in found.values():
        assert one.folder.name.endswith(one.result["config_hash"][:10])
        assert one.result["config"]["seed"] == one.result["seed"]
        composed = {path.name for path in (one.folder / ".hydra").iterdir()}
        assert composed == {"config.yaml", "hydra.yaml", "overrides.yaml"}
        assert "epoch 3/3" in (one.folder / "train.log").read_text()
        assert (one.folder / "confusion.png").exists()
    assert seeds(folder) == {("8",): "2", ("16x8",): "2"}
    assert "grid: 4 jobs, 4 to start" in finished.out
    assert "epoch" not in finished.out + finished.err
    for line in ("hidden=8,seed=1: val ", "[4/4] "):
        assert line in finished.err


def test_a_job_that_has_its_result_is_not_shown_as_running(
    whole: tuple[Path, Finished], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job has this state between the writing of its result and of its last status."""
    shutil.copytree(whole[0], tmp_path / "grid")
    queued = job_file.read(tmp_path / "grid" / "jobs.jsonl")
    for job in queued:
        write_status(job.folder, "running")
    with display.shown(lambda: queued):
        pass
    assert re.findall(r"\[./4\] (\S+): val \S+%, test \S+%, whole job", capsys.readouterr().err) == [
        job.label for job in queued
    ]


def test_the_same_command_does_nothing_again(program: Program, grid: Path) -> None:
    """A command that names defaults does the same; jobs of another version are reported."""
    for one in list(jobs(grid).values())[:2]:
        made_with = one.result["versions"] | {"torch": "2.0.0"}
        (one.folder / "result.json").write_text(json.dumps(one.result | {"versions": made_with}))
    before = {path: path.stat().st_mtime_ns for path in grid.glob("*/**/*") if path.is_file()}
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    defaults = ("trainer.log_every_n_steps=50", "trainer.precision=32")
    finished = program.run("-m", *FAST, *GRID, *defaults, "sweep_name=grid")
    assert finished.code == 0
    assert "grid: 4 jobs, 4 complete\n2 of 4 complete jobs were made with torch 2.0.0 (now " in finished.out
    assert {path: path.stat().st_mtime_ns for path in grid.glob("*/**/*") if path.is_file()} == before
    assert not imported(finished.err) & {"torch", "torchvision", "lightning", "sklearn"}


def test_a_grid_can_grow(sweep: Sweep, grid: Path) -> None:
    """A grid grows in values and in keys; trained jobs keep their folders."""
    first = {name: job.status["time"] for name, job in jobs(grid).items()}
    finished = sweep("model.hidden=8", "seed=0,2", "optimizer=adam,sgd", "sweep_name=grid")
    assert "grid: 4 jobs, 1 complete, 3 to start" in finished.out
    found = jobs(grid)
    assert {name: found[name].status["time"] for name in first} == first
    assert set(found) - set(first) == {"seed=0,optimizer=sgd", "seed=2,optimizer=adam", "seed=2,optimizer=sgd"}
    assert seeds(grid) == {("8", "Adam"): "3", ("8", "SGD"): "2", ("16x8", "Adam"): "2"}


def test_what_becomes_of_a_job_is_no_matter_to_the_others(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five jobs, one raises, one calls sys.exit and one is killed; a second command trains these.

    Then one kills the fork server of the jobs.
    """
    seeds_and_name = ("seed=0,1,2,3,4", "sweep_name=faults")
    monkeypatch.setattr(worker, "train", faults.train)
    finished = sweep(*TWO_AT_ONCE, *seeds_and_name)
    assert finished.code == 6
    folder = tmp_path / "outputs" / "sweeps" / "faults"
    found = jobs(folder)
    assert len(found) == 5
    causes = {f"seed={seed}": cause for seed, cause in faults.CAUSES.items()}
    assert "3 of 5 jobs failed. Retry them with: python train.py -m" in finished.err
    for name, one in found.items():
        assert one.status["status"] == ("failed" if name in causes else "completed")
        if name in causes:
            assert one.status["reason"] == causes[name]
            log = f"outputs/sweeps/faults/{one.folder.name}/train.log"
            assert f"  {one.folder.name}: failed: {causes[name]} ({log})" in finished.out.splitlines()
            assert causes[name] in (tmp_path / log).read_text()
    assert "Traceback" in (found["seed=1"].folder / "train.log").read_text()
    assert "Traceback" not in finished.out + finished.err
    assert [row["seeds"] for row in table(folder)] == ["2"]

    monkeypatch.setattr(worker, "train", faults.train_without_server)
    finished = sweep(*seeds_and_name)
    assert finished.code == 0, finished.err
    assert "faults: 5 jobs, 2 complete, 3 to start" in finished.out
    assert [row["seeds"] for row in table(folder)] == ["5"]


def test_what_is_damaged_or_foreign_is_no_matter_to_the_others(sweep: Sweep, grid: Path) -> None:
    """Tested with a damaged result, damaged records, and an unusable folder."""
    half, of_null, no_record, spoiled = jobs(grid).values()
    good = half.result
    kept = {key: good[key] for key in ("epochs", "max_epochs", "metrics", "config_hash", "score", "total_s")}
    (half.folder / "result.json").write_text(json.dumps(kept))
    for one, content in ((of_null, '{"versions": null}'), (no_record, "[]")):
        (one.folder / "result.json").unlink()
        (one.folder / "status.json").write_text(content)
    shutil.rmtree(spoiled.folder)
    spoiled.folder.mkdir()
    (spoiled.folder / ".hydra").write_text("not a folder")
    finished = sweep(*GRID, "sweep_name=grid")
    assert finished.code == 6
    assert "grid: 4 jobs, 3 to resume, 1 to start" in finished.out
    label = half.folder.name.rpartition("-")[0]
    assert f"{label}: result.json is damaged, and will be written again: status: field required" in finished.out
    assert half.result["metrics"] == good["metrics"]
    assert {one.status["status"] for one in (half, of_null, no_record)} == {"completed"}
    assert [path.name for path in spoiled.folder.iterdir()] == [".hydra"]
    assert f"outputs/sweeps/grid/{spoiled.folder.name}: holds .hydra, which mlplab did not write." in finished.err
    assert "1 of 4 jobs failed" in finished.err
    assert "Traceback" not in finished.err


def test_ctrl_c_leaves_no_process_and_begins_no_job(
    sweep: Sweep, program: Program, whole: tuple[Path, Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs train and two wait, in an oddly named folder; the same command resumes to the same report."""
    program.folder = tmp_path / "a\\b 'd'"
    program.folder.mkdir()
    (held := tmp_path / "held").touch()
    program.environment |= {"PYTHONPATH": FAULTY_PYTHON, "HELD": str(held)}
    with program.start("-m", *FAST, *TWO_AT_ONCE, *GRID, before=os.setsid) as process:
        found = _that_train(2, process, program.folder)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate()
    assert process.returncode == 130
    name = found[0].folder.parent.name
    assert "0 of 4 jobs are complete. Resume with: python train.py -m data=digits" in err
    assert f"sweep_name={name}" in err
    assert "resume=" not in out + err
    assert len(re.findall(r"interrupted after [12] of 3 epochs \(", out)) == 2
    assert len(jobs(found[0].folder.parent)) == 2
    _check_that_they_saved_and_ended(found)

    monkeypatch.chdir(program.folder)
    assert sweep(*GRID, f"sweep_name={name}").code == 0
    assert all("resuming " in (one.folder / "train.log").read_text() for one in found)
    assert table(found[0].folder.parent) == table(whole[0])


def test_the_same_command_joins_and_takes_over(sweep: Sweep, program: Program, tmp_path: Path) -> None:
    """Each of two processes trains one of two jobs; then the first process is killed."""
    command = (*SWEEP, "seed=0,1", "sweep_name=two")
    (held := tmp_path / "held").touch()
    folder = tmp_path / "outputs" / "sweeps" / "two"
    environment = program.environment
    program.environment = environment | {"PYTHONPATH": FAULTY_PYTHON, "HELD": str(held)}
    with program.start(*command) as first:
        (one,) = _that_train(1, first, tmp_path)
        other_grid = sweep("seed=0,1,2", "sweep_name=two")
        assert other_grid.code == 2
        assert "outputs/sweeps/two: another process" in other_grid.err
        program.environment = environment
        with program.start(*command) as second:
            wait_until(lambda: bool(list(folder.glob("*/result.json"))), second)
            assert not (one.folder / "result.json").exists()
            first.kill()
            out, err = second.communicate()
    assert second.returncode == 0, err
    assert "two: 2 jobs, 1 to resume, 1 to start\nAnother process is running this sweep: joining it." in out
    assert len(list(folder.glob("*/result.json"))) == 2
    logs = {path.parent: path.read_text() for path in folder.glob("*/train.log")}
    assert [path for path, text in logs.items() if "resuming " in text] == [one.folder]
    assert [row["seeds"] for row in table(folder)] == ["2"]


def _that_train(count: int, process: subprocess.Popen[str], folder: Path) -> list[Job]:
    wait_until(lambda: len(list(folder.glob("outputs/sweeps/*/*/checkpoints/last.ckpt"))) == count, process)
    return list(jobs(next(folder.glob("outputs/sweeps/*"))).values())


def _check_that_they_saved_and_ended(found: Iterable[Job]) -> None:
    for one in found:
        wait_until(lambda pid=one.status["pid"]: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
        assert one.status["status"] == "interrupted"
        assert re.match(r"(Interrupted|Terminated) after [12] of 3 epochs\.$", one.status["reason"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("seed=1,-1", "model.hidden=8,0"), ["model.hidden: must be greater than", "seed: must be greater than"]),
        (("trainer.devices=1,2",), ["trainer.devices: one run trains on one device"]),
        (("hydra/launcher=joblib",), ["hydra/launcher=joblib: ", "jobs=N", "launcher=slurm"]),
        (("hydra.launcher.n_jobs=2",), ["hydra.launcher.n_jobs=2: ", "jobs=N", "launcher=slurm"]),
        (("launcher=cloud",), ["launcher=cloud: unknown, must be one of local, slurm"]),
        (("jobs=0",), ["jobs: must be auto or a number of at least 1, got 0"]),
        (("sweep_name=..",), ["sweep_name: must begin with a letter or digit"]),
        (("sweep_name=a/b",), ["sweep_name: must begin with a letter or digit"]),
        (("hydra.sweep.subdir=x",), ["hydra.sweep.subdir: job folders are named by their configuration"]),
        (("++resume=x",), ["resume: takes one run; omit -m."]),
    ],
)
def test_what_is_wrong_anywhere_is_said_before_the_first_job(
    sweep: Sweep, tmp_path: Path, overrides: tuple[str, ...], says: list[str]
) -> None:
    finished = sweep(*overrides)
    assert finished.code == 2
    for line in says:
        assert line in finished.err
    assert len(finished.err.splitlines()) <= 5
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(("profilers", "ended"), [("foo", ["failed"]), ("simple,foo", ["completed", "failed"])])
def test_what_only_lightning_refuses_stops_the_sweep_if_it_is_the_first_job(
    sweep: Sweep, tmp_path: Path, profilers: str, ended: list[str]
) -> None:
    seeds = "0" if "," in profilers else "0,1"
    finished = sweep(f"seed={seeds}", f"trainer.profiler={profilers}", "trainer.max_epochs=1", "sweep_name=refused")
    assert finished.code == (6 if "completed" in ended else 2)
    assert "trainer: Lightning refuses these flags" in (finished.out if "completed" in ended else finished.err)
    assert "Traceback" not in finished.out + finished.err
    found = jobs(tmp_path / "outputs" / "sweeps" / "refused")
    assert sorted(one.status["status"] for one in found.values()) == ended


def test_damaged_data_stop_the_sweep_with_its_first_job(sweep: Sweep, tiny_root: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_root, tmp_path / "data")
    labels = tmp_path / "data" / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    finished = sweep("data=mnist", f"data.root={tmp_path / 'data'}", "data.val_size=50", "seed=0,1,2")
    assert finished.code == 3
    assert f"{labels}: expected" in finished.err
    assert len(list(tmp_path.glob("outputs/sweeps/*/*/status.json"))) == 1
