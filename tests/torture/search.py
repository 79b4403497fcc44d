"""Searches whose processes are killed, and runs that are paused in processes of their own."""

import random
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
        with runs.start(folder, *_search(whole, sampler, 2)) as process:
            assert runs.finish(process)[0] == 0, "the search that nobody stops failed"
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
            with runs.start(folder, *_search(search, sampler, at_once)) as process:
                code, printed = runs.finish(process)
            found = [] if code == 0 else [f"ended with {code}: {printed[-500:]}"]
            for name in ("draws.jsonl", "finalists.jsonl"):
                is_same = (search / name).read_bytes() == (whole / name).read_bytes()
                found += [] if is_same else [f"another {name}"]
            found += [] if states.histories(search) == states.histories(whole) else ["other histories"]
            report.add(f"five kills of a search's processes, {sampler}, {at_once} at once", found)


def paused_in_processes(folder: Path, dice: random.Random, report: Report) -> None:
    """Each piece of a run in a process of its own, as the workers of a search do; 24 kinds of run."""
    kinds = [f"{one} {two} {other}".split() for one, two, other in product(OPTIMIZERS, SCHEDULES, OTHERS)]
    for number, kind in enumerate(kinds):
        whole, run = folder / f"whole-{number}", folder / f"run-{number}"
        common = ["data=digits", "trainer.max_epochs=9", "show=none", "trainer.enable_progress_bar=false", *kind]
        with runs.start(folder, *common, f"hydra.run.dir={whole}") as process:
            assert runs.finish(process)[0] == 0, kind
        found = []
        for rung in ("1", "3", "0"):
            with runs.start(folder, rung, str(run), *common, program="tests/torture/paused.py") as process:
                code, printed = runs.finish(process)
            found += [] if code == 0 else [f"{kind} ended with {code}: {printed[-300:]}"]
        report.add("a run that is paused twice", found or states.problems(run, whole))


def _search(folder: Path, sampler: str, at_once: int) -> list[str]:
    return [*SPACE, f"hydra.sweep.dir={folder}", f"search.sampler={sampler}", f"jobs={at_once}"]
