"""Searches over the digits: new, repeated, extended, killed and with failing draws, and their reports."""

import json
import shutil
from pathlib import Path
from typing import Any

import faults
import in_process
import own_data
import pytest
import states
from conftest import PROJECT, Command, Finished, Once, Program, Script
from waiting import wait_until

from mlplab.runs.result import write_status
from mlplab.sweeps import worker

FAST = ("data=digits", "trainer.max_epochs=3", "trainer.accelerator=cpu", "show=none", "sweep_name=mine")
SPACE = ("optimizer.lr=interval(1e-4,1e-1)", "model.hidden=8,16")
SMALL = (
    *("search=halving", "search.sampler=random", "search.wave=4", "search.budget=4"),
    *("search.finalists=1", "search.seeds=1"),
)
WORDS = (*SMALL, *FAST, *SPACE)

Whole = tuple[Path, Finished]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(command: Command, tmp_path: Path) -> Path:
    """Where `command` keeps a search."""
    return tmp_path / "outputs" / "sweeps" / "mine"


@pytest.fixture(scope="session")
def whole(once: Once) -> Whole:
    """An undisturbed search with one worker."""
    folder, finished = once("search", lambda folder: in_process.train_in(folder, *WORDS, "jobs=1"))
    return folder / "outputs" / "sweeps" / "mine", finished


@pytest.fixture
def copy(whole: Whole, folder: Path) -> Path:
    """A copy of the search, to resume."""
    return Path(shutil.copytree(whole[0], folder))


def test_a_search_ends_in_a_winner(whole: Whole) -> None:
    folder, finished = whole
    assert "optimizer.lr: 0.0001 to 0.1 on a log scale" in finished.out
    for heading in ("Winner", "Finalists", "Rungs", "All complete runs"):
        assert f"\n{heading}\n" in finished.out
    assert "held-out seeds" in (folder / "report.md").read_text()
    drawn = lines(folder / "draws.jsonl")
    assert len({one["hash"] for one in drawn}) == len(drawn) == 8
    assert drawn[0]["values"] == {}  # the base configuration
    for one in drawn:
        status = json.loads((folder / one["folder"] / "status.json").read_text())["status"]
        assert status in ("paused", "completed")
        assert (folder / one["folder"] / "checkpoints" / "best.ckpt").exists() == (status == "completed")
        assert (folder / one["folder"] / "result.json").exists() == (status == "completed")
    finals = lines(folder / "finalists.jsonl")
    assert {one["seed"] for one in finals if one["chooses"]} == {1}
    assert {one["seed"] for one in finals if not one["chooses"]} == {2}


def test_paused_runs_know_nothing_of_the_test_images(whole: Whole) -> None:
    folder, _ = whole
    paused = [path.parent for path in folder.glob("*/paused.json")]
    assert paused
    files = [path for run in paused for path in run.rglob("*") if path.is_file()]
    assert not [path for path in files if b"test/" in path.read_bytes()]


def test_two_workers_make_the_same_search_whatever_the_test_images_say(
    whole: Whole, command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "train", faults.train_poisoned)
    finished = command(*WORDS, "jobs=2")
    assert finished.code == 0, finished.err
    tests, poisoned = (
        [json.loads(path.read_text())["metrics"]["test/acc"] for path in sorted(place.glob("*/result.json"))]
        for place in (whole[0], folder)
    )
    assert len(tests) == len(poisoned)
    assert tests != poisoned
    for name in ("draws.jsonl", "finalists.jsonl"):
        assert (folder / name).read_bytes() == (whole[0] / name).read_bytes()
    assert states.histories(folder) == states.histories(whole[0])


def test_a_search_that_is_killed_goes_on_as_if_it_were_not(
    whole: Whole, program: Program, command: Command, folder: Path
) -> None:
    with program.start(*WORDS, "jobs=2") as process:
        wait_until(lambda: len(list(folder.glob("*/paused.json"))) >= 2, process)
        process.kill()
        process.communicate()
    draws = (folder / "draws.jsonl").read_bytes()
    (folder / "draws.jsonl").write_bytes(draws[:-20])  # the line that was torn
    finished = command(*WORDS, "jobs=2")
    assert finished.code == 0, finished.err
    assert (folder / "draws.jsonl").read_bytes() == (whole[0] / "draws.jsonl").read_bytes()
    assert states.histories(folder) == states.histories(whole[0])


def test_a_finished_search_has_nothing_to_do_and_imports_neither_torch_nor_optuna(copy: Path, program: Program) -> None:
    before = states.histories(copy)
    code = "import runpy, sys; sys.argv[0] = 'train.py'; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    check = "\nassert not {'torch', 'optuna', 'lightning'} & set(sys.modules), 'imported'"
    (program.folder / "wrapped.py").write_text(f"{code}{check}")
    (copy / "report.md").touch()
    (copy / "time.png").unlink()
    for is_current in (True, False):
        given = PROJECT / "train.py", *WORDS
        finished = program.run(*given, script=str(program.folder / "wrapped.py"), before=lambda: None)
        assert finished.code == 0, finished.err
        assert "\nWinner\n" in finished.out
        assert states.histories(copy) == before
        assert (copy / "time.png").exists() != is_current
        (copy / "draws.jsonl").touch()


def test_more_budget_draws_more_and_less_is_refused(whole: Whole, copy: Path, command: Command) -> None:
    paused = next(path.parent for path in copy.glob("*/paused.json"))
    write_status(paused, "failed", "killed together with the search, which does not count")
    finished = command(*WORDS, "search.budget=6", "jobs=2")
    assert finished.code == 0, finished.err
    assert json.loads((paused / "status.json").read_text()).get("failures", 0) == 0
    grown = (copy / "draws.jsonl").read_bytes()
    assert grown.startswith((whole[0] / "draws.jsonl").read_bytes())
    assert len(grown.splitlines()) == 12
    finished = command(*WORDS)
    assert finished.code == 2
    assert "search.budget: can only be raised, from 6; got 4" in finished.err


def test_what_is_shown_may_change(copy: Path, command: Command) -> None:
    finished = command(*WORDS, "show=default", "search.minutes=0.0001")
    assert finished.code == 0, finished.err
    finished = command(*WORDS)  # without minutes, again
    assert finished.code == 0, finished.err


def test_another_space_is_refused(copy: Path, command: Command) -> None:
    finished = command(*SMALL, *FAST, "optimizer.lr=interval(1e-3,1e-1)", "model.hidden=8,16")
    assert finished.code == 2
    assert "holds another search" in finished.err
    assert "Choose another sweep_name." in finished.err


def test_the_winner_becomes_a_recipe(copy: Path, script: Script, tmp_path: Path) -> None:
    recipe = tmp_path / "found.yaml"
    finished = script("report.py", copy, "--recipe", recipe)
    assert finished.code == 0, finished.err
    said = next(line for line in finished.out.splitlines() if "python train.py" in line).split("train.py ")[1]
    written = recipe.read_text()
    assert written.startswith("# @package _global_\n# python train.py experiment=found\n")
    assert said.strip() in written
    assert script("report.py", copy, "--recipe", recipe).code == 2
    assert recipe.read_text() == written


def test_draws_that_fail_are_named_and_the_others_go_on(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "train", faults.train)
    words = ("search=random", "search.wave=5", "search.budget=5", "search.finalists=0", *FAST, "trainer.max_epochs=1")
    finished = command(*words, "model.hidden=11,13,14,15", "optimizer=sgd", "optimizer.lr=0.1", "jobs=2")
    assert finished.code == 6
    assert "2 of 5 runs failed and count as the worst." in finished.err
    assert "ZeroDivisionError: as the test wants it" in finished.out
    assert "killed by SIGKILL" in finished.out
    failures = {
        path.parent.name.partition("-")[0]: json.loads(path.read_text()).get("failures", 0)
        for path in folder.glob("*/status.json")
    }
    assert failures == {"beginning": 0, "hidden=11": 2, "hidden=13": 2, "hidden=14": 0, "hidden=15": 0}
    again = command(*words, "model.hidden=11,13,14,15", "optimizer=sgd", "optimizer.lr=0.1", "jobs=2")
    assert again.code == 6
    assert "ZeroDivisionError" in again.out


def test_a_disk_without_room_stops_the_search(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no fault of a draw, and would stop all of them."""
    monkeypatch.setattr(worker, "train", faults.train_on_a_full_disk)
    finished = command(*WORDS, "jobs=1")
    assert finished.code == 4
    assert "cannot be written: No space left on device." in finished.err
    assert len(list(folder.glob("*/status.json"))) == 1


def test_a_run_has_all_that_a_named_space_sets(command: Command, folder: Path) -> None:
    """The schedule and the metric are set, also by the command that trains the run alone."""
    words = ("search=regularized", "search.sampler=random", "search.budget=1", "search.wave=1", "search.finalists=0")
    finished = command(*words, *FAST, "trainer.max_epochs=1", "jobs=1")
    assert finished.code == 0, finished.err
    (drawn,) = lines(folder / "draws.jsonl")
    result = json.loads((folder / drawn["folder"] / "result.json").read_text())
    assert (result["monitor"], result["config"]["scheduler"]["name"]) == ("val/acc", "CosineAnnealingLR")
    assert {"scheduler=cosine", "monitor=val/acc", "trainer.precision=bf16-if-fast"} < set(drawn["overrides"])
    assert "scheduler=cosine" in (folder / "report.md").read_text()
    again = command(*drawn["overrides"], "hydra.run.dir=alone")
    assert again.code == 0, again.err
    assert json.loads((folder.parents[2] / "alone" / "result.json").read_text())["config_hash"] == drawn["hash"]


def test_own_data_that_have_changed_are_refused(command: Command, tmp_path: Path) -> None:
    own_data.write_folder(tmp_path / "own", *own_data.made(60, seed=1))
    data = ("data=folder", "data.root=own", "data.prepare=none", "trainer.max_epochs=1", "show=none", "sweep_name=mine")
    words = ("search=random", "search.wave=1", "search.finalists=0", *data, "model.hidden=8,16,32", "jobs=1")
    assert command(*words, "search.budget=1").code == 0
    assert command(*words, "search.budget=2").code == 0
    shutil.copy(tmp_path / "own" / "1" / "1.png", tmp_path / "own" / "1" / "99.png")
    finished = command(*words, "search.budget=3")
    assert finished.code == 2
    assert "the files of the data set have changed since the search began" in finished.err


def test_a_draw_that_diverges_is_the_worst(command: Command) -> None:
    words = ("search=grid", "search.wave=3", "search.budget=3", "search.finalists=1", "search.seeds=1", *FAST)
    finished = command(*words, "optimizer=sgd", "optimizer.lr=0.05,1e30", "jobs=2")
    assert finished.code == 6, finished.err
    assert "1 of 7 runs failed" in finished.err
    assert "diverged" in finished.out
    assert "\nWinner\n" in finished.out


def test_runs_of_a_grid_count(command: Command, folder: Path) -> None:
    grid = command("-m", *FAST, "model.hidden=8,16", "optimizer=adam,sgd", "jobs=2")
    assert grid.code == 0, grid.err
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}
    words = ("search=grid", "search.budget=9", "search.finalists=0", *FAST, "model.hidden=8,16", "optimizer=adam,sgd")
    finished = command(*words, "jobs=2")
    assert finished.code == 0, finished.err
    after = {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}
    assert before.items() < after.items()
    assert len(after) == 5  # the configuration that the command begins with is new
    elsewhere = tuple(word for word in words if word != "sweep_name=mine")
    finished = command(*elsewhere, "sweep_name=other", f"search.learn_from=[{folder}]", "jobs=2")
    assert finished.code == 0, finished.err
    assert not list(folder.with_name("other").glob("*/result.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("search=random", "optimizer.lr=interval(1,2)", "model.hidden=0,x", "seed=1,2"),
            ["seed:", "model.hidden: must"],
        ),
        (("search=random", "model.hidden=8"), ["search: nothing to search"]),
        (("search=grid", "optimizer.lr=interval(1,2)"), ["search.sampler: a grid needs values, not ranges"]),
        (("search=random", "search.wave=0", "model.hidden=8,9"), ["search.wave: must be greater than or equal to 1"]),
        (("search=random", "search.budget=1e7", "model.hidden=8,9"), ["search.budget: must be less than or equal to"]),
        (("search=random", "search.rungs=[0]", "model.hidden=8,9"), ["search.rungs: must be greater than or equal"]),
        (("search=random", "search.rungs=[1,9]", "model.hidden=8,9"), ["search.rungs: must be at most"]),
        (("search=random", "data.val_size=0", "model.hidden=8,9"), ["data.val_size: a search needs validation"]),
        (("search=random", "search.learn_from=[nowhere]", "model.hidden=8,9"), ["search.learn_from: nowhere"]),
        (("search=halvin", "model.hidden=8,9"), ["did you mean halving?"]),
        (("search=random,grid", "model.hidden=8,9"), ["search=random,grid: choose only one"]),
    ],
)
def test_mistakes_are_refused_before_anything_is_made(
    command: Command, tmp_path: Path, words: tuple[str, ...], said: list[str]
) -> None:
    finished = command(*words, *FAST[:3])
    assert finished.code == 2
    assert len(finished.err.splitlines()) <= 5
    for line in said:
        assert line in finished.err
    assert not (tmp_path / "outputs").exists()


def test_a_search_by_the_clock_ends_and_resumes_with_more_time(command: Command, folder: Path) -> None:
    space = ("model.hidden=8,16", "optimizer=adam,sgd")  # four, and the base configuration
    words = ("search=random", "search.wave=2", "search.finalists=0", *FAST, *space, "jobs=2")
    finished = command(*words, "search.minutes=0.0001")
    assert finished.code == 0, finished.err
    assert len(lines(folder / "draws.jsonl")) == 2
    assert command(*words, "search.minutes=0.0001").code == 0
    assert len(lines(folder / "draws.jsonl")) == 2
    finished = command(*words, "search.minutes=1000")
    assert finished.code == 0, finished.err
    assert "\nThe space is exhausted: it has no other valid configuration.\n" in finished.out
    assert len(lines(folder / "draws.jsonl")) == 5
