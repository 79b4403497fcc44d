"""Searches whose processes are killed, and runs that are paused in processes of their own."""

import os
import random
import signal
import time
from itertools import product
from pathlib import Path

import runs
import states
from report import Report
from sweeps import descendants, kill, wait_until_over

SPACE = [
    *("data=digits", "trainer.max_epochs=9", "optimizer.lr=interval(1e-4,1e-1)", "model.hidden=16,32,[32,16]"),
    *("optimizer=adam,sgd", 'optimizer.momentum=tag("optimizer=sgd",interval(0.5,0.99))'),
    *("search=halving", "search.budget=4", "search.wave=6", "search.finalists=1", "search.seeds=1"),
]
SMALL = ["search.budget=6", "search.wave=4", "trainer.max_epochs=3"]  # three waves of draws, with two rungs
POINTS = {  # where `killed.py` kills a search, and how often it has passed there before
    "before the draws of a wave": ("mlplab.search.records.add", 1),
    "after the line of a draw": ("/draws.jsonl", 8),
    "within the line of a draw": ("/draws.jsonl", 9),
    "between waves": ("mlplab.sweeps.job.write", 2),
    "among finalists": ("mlplab.search.records.add_finalists", 1),
}
SAMPLERS = ("random", "tpe")
AT_ONCE = (1, 2)
OPTIMIZERS = ("optimizer=adam", "optimizer=rmsprop", "optimizer=sgd optimizer.momentum=0.9")
SCHEDULES = ("", "scheduler=cosine", "scheduler=onecycle", "scheduler.name=StepLR scheduler.step_size=2")
OTHERS = ("regularization.averaging=swa model.dropout=0.2", "regularization.averaging=ema model.batch_norm=true")


def killed_at_random_times(folder: Path, dice: random.Random, report: Report, kills: int = 5) -> None:
    """Any of its processes, again and again, until the search is complete."""
    for sampler in SAMPLERS:
        whole = folder / f"whole-{sampler}"
        started = time.monotonic()
        assert runs.finished(folder, *_search(whole, sampler, 2))[0] == 0, "the search that nobody stops failed"
        seconds = time.monotonic() - started
        for at_once in AT_ONCE:
            search = folder / f"{sampler}-{at_once}"
            for _ in range(kills):
                with runs.start(folder, *_search(search, sampler, at_once)) as process:
                    time.sleep(dice.uniform(0.1, 0.5) * seconds)
                    kill(dice.choice([process.pid, *descendants(process.pid)]))
                    time.sleep(0.1)
                    kill(process.pid)
                    runs.finish(process)
                wait_until_over(search)
            found = runs.problems(*runs.finished(folder, *_search(search, sampler, at_once)))
            found += _differences(search, whole)
            report.add(f"five kills of a search's processes, {sampler}, {at_once} at once", found)


def killed_at_named_points(folder: Path, dice: random.Random, report: Report) -> None:
    """Kill a whole search, or the process of a run just before it pauses."""
    whole = folder / "whole"
    _complete(folder, whole, 0, 1)
    for name, (at, calls) in POINTS.items():
        search = folder / name.replace(" ", "-")
        killed = {"program": "tests/torture/killed.py", "TORTURE_AT": at, "TORTURE_CALLS": str(calls)}
        ended = runs.finished(folder, *_search(search, "random", 2), *SMALL, **killed)
        found = runs.problems(*ended, expected=-signal.SIGKILL)
        wait_until_over(search)
        if name.startswith("within"):
            os.truncate(search / "draws.jsonl", (search / "draws.jsonl").stat().st_size - 20)
        found += [*_complete(folder, search, 0, 2), *_differences(search, whole)]
        report.add(f"a kill of a search {name}", found)
    search = folder / "pause"
    path = os.pathsep.join([str(runs.PROJECT / "tests" / "faulty_python"), os.environ.get("PYTHONPATH", "")])
    found = _complete(folder, search, 0, 2, PYTHONPATH=path, KILLED_AT_PAUSE=str(folder / "killed"))
    found += [] if (folder / "killed").exists() else ["no run was killed"]
    report.add("a kill of a run of a search at its pause", [*found, *_differences(search, whole)])


def with_any_workers(folder: Path, dice: random.Random, report: Report, seeds: int = 5) -> None:
    """Compare the same search with 1, 2 and 4 workers, and with 2 that are killed."""
    for seed in range(seeds):
        whole = folder / f"1-{seed}"
        _complete(folder, whole, seed, 1)
        for at_once in (2, 4):
            search = folder / f"{at_once}-{seed}"
            found = [*_complete(folder, search, seed, at_once), *_differences(search, whole)]
            report.add(f"a search with {at_once} workers", found)
        search = folder / f"killed-{seed}"
        with runs.start(folder, *_search(search, "random", 2), *SMALL, f"search.seed={seed}") as process:
            time.sleep(dice.uniform(3, 6))
            for pid in [*descendants(process.pid), process.pid]:
                kill(pid)
            runs.finish(process)
        wait_until_over(search)
        found = [*_complete(folder, search, seed, 2), *_differences(search, whole)]
        report.add("a search with 2 workers that are killed", found)


def _complete(folder: Path, search: Path, seed: int, at_once: int, **environment: str) -> list[str]:
    """Run or resume a small search to its end; return what went wrong."""
    words = [*_search(search, "random", at_once), *SMALL, f"search.seed={seed}"]
    return runs.problems(*runs.finished(folder, *words, **environment))


def _differences(search: Path, whole: Path) -> list[str]:
    names = [name for name in ("draws.jsonl", "finalists.jsonl") if _read(search / name) != _read(whole / name)]
    others = [] if states.histories(search) == states.histories(whole) else ["other histories"]
    return [*(f"another {name}" for name in names), *others]


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def paused_in_processes(folder: Path, dice: random.Random, report: Report) -> None:
    """Each piece of a run in a process of its own, as the workers of a search do; 24 kinds of run."""
    kinds = [f"{one} {two} {other}".split() for one, two, other in product(OPTIMIZERS, SCHEDULES, OTHERS)]
    for number, kind in enumerate(kinds):
        whole, run = folder / f"whole-{number}", folder / f"run-{number}"
        common = ["data=digits", "trainer.max_epochs=9", "show=none", "trainer.enable_progress_bar=false", *kind]
        assert runs.finished(folder, *common, f"hydra.run.dir={whole}")[0] == 0, kind
        found: list[str] = []
        for rung in ("1", "3", "0"):
            ended = runs.finished(folder, rung, str(run), *common, program="tests/torture/paused.py")
            found += [f"{kind} {problem}" for problem in runs.problems(*ended)]
        report.add("a run that is paused twice", found or states.problems(run, whole))


def _search(folder: Path, sampler: str, at_once: int) -> list[str]:
    return [*SPACE, f"hydra.sweep.dir={folder}", f"search.sampler={sampler}", f"jobs={at_once}"]
