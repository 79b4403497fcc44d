"""Sweeps over the digits: begun, joined, stopped, killed, given again and extended."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faults
import in_process
import pytest
from conftest import PROJECT, Finished, Program
from waiting import wait_until

from mlplab.sweeps import worker

FAST = ("data=digits", "trainer.max_epochs=2", "trainer.accelerator=cpu")
FAULTY_PYTHON = os.pathsep.join([str(PROJECT / "tests" / "faulty_python"), os.environ.get("PYTHONPATH", "")])
TWO_AT_ONCE = ("jobs=2",)  # whatever cores there are

Sweep = Callable[..., Finished]


@dataclass(frozen=True)
class Job:
    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return result

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return status


def jobs(folder: Path) -> dict[str, Job]:
    """By the readable part of their names."""
    return {path.parent.name.rpartition("-")[0]: Job(path.parent) for path in sorted(folder.glob("*/status.json"))}


def table(folder: Path) -> list[dict[str, str]]:
    """What a sweep ends in, without times."""
    with (folder / "report.csv").open() as file:
        return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in csv.DictReader(file)]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sweep:
    """`python train.py -m` in this process, which has imported torch; one job after another."""
    monkeypatch.chdir(tmp_path)

    return lambda *overrides: in_process.train("-m", *FAST, "jobs=1", *overrides, capfd=capfd)


def test_each_configuration_has_a_folder_and_the_end_is_an_answer(sweep: Sweep, tmp_path: Path) -> None:
    finished = sweep("model.hidden=8,[16,8]", "seed=0,1", "sweep_name=widths")
    assert finished.code == 0, finished.err
    folder = tmp_path / "outputs" / "sweeps" / "widths"
    found = jobs(folder)
    assert set(found) == {"hidden=8,seed=0", "hidden=8,seed=1", "hidden=16x8,seed=0", "hidden=16x8,seed=1"}
    for one in found.values():
        assert one.folder.name.endswith(one.result["config_hash"][:10])
        assert one.result["config"]["seed"] == one.result["seed"]
        assert {path.name for path in (one.folder / ".hydra").iterdir()} == {
            "config.yaml",
            "hydra.yaml",
            "overrides.yaml",
        }
        assert "epoch 2/2" in (one.folder / "train.log").read_text()
    assert {row["hidden"] for row in table(folder)} == {"8", "16x8"}
    assert "widths: 4 jobs, 4 to begin" in finished.out
    assert "epoch" not in finished.out + finished.err
    for line in ("hidden=8,seed=1: val ", "[4/4] "):
        assert line in finished.err


def test_the_same_command_does_nothing_again(sweep: Sweep, program: Program, tmp_path: Path) -> None:
    grid = ("model.hidden=8", "seed=0,1", "sweep_name=again")
    assert sweep(*grid).code == 0
    folder = tmp_path / "outputs" / "sweeps" / "again"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/**/*") if path.is_file()}
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run("-m", *FAST, *grid)
    assert finished.code == 0
    assert "again: 2 jobs, 2 complete" in finished.out
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/**/*") if path.is_file()} == before
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in finished.err.splitlines() if "|" in line}
    assert not imported & {"torch", "torchvision", "lightning", "sklearn"}


def test_a_grid_can_grow(sweep: Sweep, tmp_path: Path) -> None:
    """In more values and in more keys: what was trained keeps its folder."""
    assert sweep("seed=0,1", "sweep_name=grows").code == 0
    folder = tmp_path / "outputs" / "sweeps" / "grows"
    first = {name: job.status["time"] for name, job in jobs(folder).items()}
    finished = sweep("seed=0,1,2", "optimizer=adam,sgd", "sweep_name=grows")
    assert "grows: 6 jobs, 2 complete, 4 to begin" in finished.out
    found = jobs(folder)
    assert {name: found[name].status["time"] for name in first} == first
    assert set(found) - set(first) == {"seed=2,optimizer=adam", *(f"seed={seed},optimizer=sgd" for seed in range(3))}
    assert {row["optimizer"]: row["seeds"] for row in table(folder)} == {"Adam": "3", "SGD": "3"}


def test_a_configuration_that_is_written_in_two_ways_is_trained_once(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("model.hidden=8,[8]", "sweep_name=once").code == 0
    assert len(jobs(tmp_path / "outputs" / "sweeps" / "once")) == 1


def test_a_default_that_is_named_trains_nothing_again(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("seed=0", "sweep_name=named").code == 0
    finished = sweep("seed=0", "trainer.log_every_n_steps=50", "trainer.precision=32", "sweep_name=named")
    assert "named: 1 jobs, 1 complete" in finished.out


def test_other_versions_are_noted(sweep: Sweep, tmp_path: Path) -> None:
    grid = ("seed=0,1", "sweep_name=old")
    assert sweep(*grid).code == 0
    for one in jobs(tmp_path / "outputs" / "sweeps" / "old").values():
        made_with = one.result["versions"] | {"torch": "2.0.0"}
        (one.folder / "result.json").write_text(json.dumps(one.result | {"versions": made_with}))
    finished = sweep(*grid)
    assert finished.code == 0
    assert "2 of 2 complete jobs were made with torch 2.0.0 (now " in finished.out


def test_what_becomes_of_a_job_is_no_matter_to_the_others(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight, one raises, one calls sys.exit and one is killed; given again, these three are trained."""
    grid = ("seed=0,1,2,3,4,5,6,7", "sweep_name=faults")
    with monkeypatch.context() as patched:
        patched.setattr(worker, "train", faults.train)
        _check_failures(sweep(*grid), tmp_path)
    finished = sweep(*grid)
    assert finished.code == 0, finished.err
    assert "faults: 8 jobs, 5 complete, 3 to begin" in finished.out
    assert [row["seeds"] for row in table(tmp_path / "outputs" / "sweeps" / "faults")] == ["8"]


def test_the_same_with_many_at_once(program: Program, tmp_path: Path) -> None:
    program.environment["PYTHONPATH"] = FAULTY_PYTHON
    _check_failures(program.run("-m", *FAST, *TWO_AT_ONCE, "seed=0,1,2,3,4,5,6,7", "sweep_name=faults"), tmp_path)


def _check_failures(finished: Finished, tmp_path: Path) -> None:
    assert finished.code == 6
    found = jobs(tmp_path / "outputs" / "sweeps" / "faults")
    assert len(found) == 8
    causes = {f"seed={seed}": cause for seed, cause in faults.CAUSES.items()}
    assert "3 of 8 jobs failed. Try them again with: python train.py -m" in finished.err
    for name, one in found.items():
        assert one.status["status"] == ("failed" if name in causes else "completed")
        if name in causes:
            assert one.status["reason"] == causes[name]
            log = f"outputs/sweeps/faults/{one.folder.name}/train.log"
            assert f"  {one.folder.name}: failed: {causes[name]} ({log})" in finished.out.splitlines()
            assert causes[name] in (tmp_path / log).read_text()
    assert "Traceback" in (found["seed=1"].folder / "train.log").read_text()
    assert "Traceback" not in finished.out + finished.err
    assert [row["seeds"] for row in table(tmp_path / "outputs" / "sweeps" / "faults")] == ["5"]


def test_a_folder_that_cannot_be_used_is_no_matter_to_the_others(sweep: Sweep, tmp_path: Path) -> None:
    grid = ("seed=0,1,2", "sweep_name=odd")
    assert sweep("seed=0,1", "sweep_name=odd").code == 0
    folder = tmp_path / "outputs" / "sweeps" / "odd"
    spoiled = jobs(folder)["seed=1"].folder
    shutil.rmtree(spoiled)
    spoiled.mkdir()
    (spoiled / ".hydra").write_text("not a folder")
    finished = sweep(*grid)
    assert finished.code == 6
    assert [path.name for path in spoiled.iterdir()] == [".hydra"]
    assert f"seed=1: outputs/sweeps/odd/{spoiled.name}: holds .hydra, which is not of mlplab." in finished.err
    assert (jobs(folder)["seed=2"].folder / "result.json").exists()
    assert "1 of 3 jobs failed" in finished.err
    assert "Traceback" not in finished.err


def test_a_damaged_result_is_made_again_and_said(sweep: Sweep, tmp_path: Path) -> None:
    """One that a sweep would once have taken for complete, and its report for damaged."""
    assert sweep("seed=0,1", "sweep_name=half").code == 0
    folder = tmp_path / "outputs" / "sweeps" / "half"
    found = jobs(folder)
    good = found["seed=0"].result
    half = {key: good[key] for key in ("epochs", "max_epochs", "metrics", "config_hash", "score", "total_s")}
    (found["seed=0"].folder / "result.json").write_text(json.dumps(half))
    untouched = found["seed=1"].status["time"]
    finished = sweep("seed=0,1", "sweep_name=half")
    assert finished.code == 0, finished.err
    assert "half: 2 jobs, 1 complete, 1 to go on" in finished.out
    assert "seed=0: result.json is damaged, and made again: status: field required" in finished.out
    assert jobs(folder)["seed=0"].result["metrics"] == good["metrics"]
    assert jobs(folder)["seed=1"].status["time"] == untouched
    assert len(table(folder)) == 1


def test_a_damaged_status_stops_nothing(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("seed=0", "sweep_name=damaged").code == 0
    ((_, one),) = jobs(tmp_path / "outputs" / "sweeps" / "damaged").items()
    for content in ('{"versions": null}', '{"status": "running", "versions": {}}', "[]", "{", ""):
        (one.folder / "result.json").unlink()
        (one.folder / "status.json").write_text(content)
        finished = sweep("seed=0", "sweep_name=damaged")
        assert finished.code == 0, finished.err
        assert one.status["status"] == "completed", content


def test_ctrl_c_leaves_no_process_and_begins_no_job(program: Program, tmp_path: Path) -> None:
    """Of two that train and many that wait; in a folder with an odd name."""
    program.folder = tmp_path / "a\\b 'd'"
    program.folder.mkdir()
    grid = ("-m", *FAST, *TWO_AT_ONCE, "seed=range(0,40)", "trainer.max_epochs=100000")
    with program.start(*grid, before=os.setsid) as process:
        found = _two_that_train(process, program.folder)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate()
    assert process.returncode == 130
    assert "0 of 40 jobs are complete. Resume with: python train.py -m data=digits" in err
    assert "resume=" not in out + err
    assert len(re.findall(r"interrupted after \d+ of 100,000 epochs \(", out)) == 2
    assert f"sweep_name={found[0].folder.parent.name}" in err
    assert len(jobs(found[0].folder.parent)) == 2
    _check_that_they_saved_and_ended(found)


@pytest.mark.parametrize("victim", ["the sweep", "the server"])
def test_what_was_killed_goes_on_to_the_same_answer(
    sweep: Sweep, program: Program, tmp_path: Path, victim: str
) -> None:
    """The server is the process that those of the jobs are copies of."""
    grid = ("seed=0,1", "trainer.max_epochs=10", "model.hidden=8")
    held = tmp_path / "held"
    held.touch()
    program.environment |= {"PYTHONPATH": FAULTY_PYTHON, "HELD": str(held)}
    with program.start("-m", *FAST, *TWO_AT_ONCE, *grid, "sweep_name=killed") as process:
        found = _two_that_train(process, tmp_path)
        if victim == "the sweep":
            process.kill()
        else:
            os.kill(_parent(found[0].status["pid"]), signal.SIGKILL)
            held.unlink()
            _, err = process.communicate()
            assert process.returncode == 0, err
    if victim == "the sweep":
        _check_that_they_saved_and_ended(found)
        finished = sweep(*grid, "sweep_name=killed")
        assert finished.code == 0, finished.err
        assert all("resuming " in (one.folder / "train.log").read_text() for one in found)
    assert sweep(*grid, "sweep_name=whole").code == 0
    assert table(found[0].folder.parent) == table(tmp_path / "outputs" / "sweeps" / "whole")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_same_command_joins_and_takes_over(sweep: Sweep, program: Program, tmp_path: Path) -> None:
    """Of two jobs each of two processes trains one; then the first process is killed."""
    grid = ("-m", *FAST, "trainer.max_epochs=3", "jobs=1", "seed=0,1", "sweep_name=two")
    held = tmp_path / "held"
    held.touch()
    folder = tmp_path / "outputs" / "sweeps" / "two"
    environment = program.environment
    program.environment = environment | {"PYTHONPATH": FAULTY_PYTHON, "HELD": str(held)}
    with program.start(*grid) as first:
        wait_until(lambda: bool(list(folder.glob("*/checkpoints/last.ckpt"))), first)
        ((_, one),) = jobs(folder).items()
        other_grid = sweep("trainer.max_epochs=3", "seed=0,1,2", "sweep_name=two")
        assert other_grid.code == 2
        assert "outputs/sweeps/two: another process" in other_grid.err
        program.environment = environment
        with program.start(*grid) as second:
            wait_until(lambda: bool(list(folder.glob("*/result.json"))), second)
            assert not (one.folder / "result.json").exists()
            first.kill()
            out, err = second.communicate()
    assert second.returncode == 0, err
    assert "two: 2 jobs, 1 to go on, 1 to begin\nAnother process is at work on this sweep: joining it." in out
    assert len(list(folder.glob("*/result.json"))) == 2
    logs = {path.parent: path.read_text() for path in folder.glob("*/train.log")}
    assert [path for path, text in logs.items() if "resuming " in text] == [one.folder]
    assert [row["seeds"] for row in table(folder)] == ["2"]


def _two_that_train(process: subprocess.Popen[str], folder: Path) -> list[Job]:
    wait_until(lambda: len(list(folder.glob("outputs/sweeps/*/*/checkpoints/last.ckpt"))) == 2, process)
    return list(jobs(next(folder.glob("outputs/sweeps/*"))).values())


def _check_that_they_saved_and_ended(found: list[Job]) -> None:
    wait_until(lambda: not any(_is_alive(one.status["pid"]) for one in found))
    for one in found:
        assert one.status["status"] == "interrupted"
        assert re.match(r"(Interrupted|Terminated) after [\d,]+ of [\d,]+ epochs\.$", one.status["reason"])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("seed=1,-1", "model.hidden=8,0"), ["model.hidden: must be greater than", "seed: must be greater than"]),
        (("trainer.devices=1,2",), ["trainer.devices: one run trains on one device"]),
        (("trainer.strategy=ddp",), ["trainer.strategy: one run trains on one device"]),
        (("hydra/launcher=joblib",), ["hydra/launcher=joblib: ", "jobs=N", "launcher=slurm"]),
        (("hydra.launcher.n_jobs=2",), ["hydra.launcher.n_jobs=2: ", "jobs=N", "launcher=slurm"]),
        (("launcher=cloud",), ["launcher=cloud: unknown, must be one of local, slurm"]),
        (("jobs=0",), ["jobs: must be auto or a number of at least 1, got 0"]),
        (("sweep_name=..",), ["sweep_name: must be of letters, digits"]),
        (("sweep_name=a/b",), ["sweep_name: must be of letters, digits"]),
        (("hydra.sweep.subdir=x",), ["hydra.sweep.subdir: the folder of a job is named by its configuration"]),
        (("resume=x",), ["resume: takes one run, without -m."]),
        (("data=mnist", "data.root=/nowhere/at/all"), ["/nowhere/at/all"]),
    ],
)
def test_what_is_wrong_anywhere_is_said_before_the_first_job(
    sweep: Sweep, tmp_path: Path, overrides: tuple[str, ...], says: list[str]
) -> None:
    finished = sweep(*overrides)
    assert finished.code in (2, 3)
    for line in says:
        assert line in finished.err
    assert len(finished.err.splitlines()) <= 5
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(("profilers", "code"), [("foo", 2), ("simple,foo", 6)])
def test_what_only_lightning_refuses_stops_the_sweep_if_it_is_the_first_job(
    sweep: Sweep, tmp_path: Path, profilers: str, code: int
) -> None:
    finished = sweep("seed=0,1", f"trainer.profiler={profilers}", "trainer.max_epochs=1", "sweep_name=refused")
    assert finished.code == code
    assert "trainer: Lightning refuses these flags" in (finished.err if code == 2 else finished.out)
    assert "Traceback" not in finished.out + finished.err
    found = jobs(tmp_path / "outputs" / "sweeps" / "refused")
    ended = [one.status["status"] for one in found.values()]
    assert sorted(ended) == (["failed"] if code == 2 else ["completed", "completed", "failed", "failed"])


def test_damaged_data_stop_the_sweep_with_its_first_job(sweep: Sweep, tiny_root: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_root, tmp_path / "data")
    labels = tmp_path / "data" / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    finished = sweep("data=mnist", f"data.root={tmp_path / 'data'}", "data.val_size=50", "seed=0,1,2")
    assert finished.code == 3
    assert f"{labels}: expected" in finished.err
    assert len(list(tmp_path.glob("outputs/sweeps/*/*/status.json"))) == 1
