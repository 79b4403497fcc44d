"""What a sweep of twelve jobs takes: many at once, one after the other, and in the usual way without this project."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recipes import RECIPES

HERE = Path(__file__).resolve().parent
TRAIN = HERE.parents[1] / "train.py"
SEEDS, EPOCHS = 6, 5  # of each recipe
FIRST = "mlplab, in sequence"  # the one that the others are compared with
LAUNCHERS = {FIRST: "basic", "mlplab, all cores": "joblib"}
USUAL = "plain Lightning, in sequence"


def measure(rounds: int) -> dict[str, Any]:
    """Seconds from start to answer, by round, and their ratios to those of `FIRST`. All processors may be used."""
    turn(FIRST)  # not counted: fills the cache of compiled steps
    seconds: dict[str, list[float]] = {name: [] for name in (*LAUNCHERS, USUAL)}
    for number in range(rounds):
        for name, taken in seconds.items():
            taken.append(turn(name))
            print(f"round {number + 1}, {name}: {taken[-1]:.1f} s", flush=True)
    ratios = {
        name: [own / first for own, first in zip(taken, seconds[FIRST], strict=True)] for name, taken in seconds.items()
    }
    for name, found in ratios.items():
        print(f"{name:30} {statistics.median(seconds[name]):7.1f} s, {statistics.median(found):.2f} times")
    return {"jobs": SEEDS * len(RECIPES), "epochs": EPOCHS, "seconds": seconds, "ratios": ratios}


def turn(name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        if name == USUAL:
            jobs = ",".join(recipe for recipe in RECIPES for _ in range(SEEDS))
            command = [sys.executable, str(HERE / "contestants.py"), "plain Lightning", jobs, str(EPOCHS)]
        else:
            grid = [f"experiment={','.join(RECIPES)}", f"seed=range(0,{SEEDS})", f"trainer.max_epochs={EPOCHS}"]
            where = [f"hydra.sweep.dir={folder}/sweep", f"hydra/launcher={LAUNCHERS[name]}"]
            command = [sys.executable, str(TRAIN), "-m", *grid, *where, "compile=true", "trainer.accelerator=cpu"]
        started = time.perf_counter()
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        if name != USUAL:
            results = list(Path(folder, "sweep").glob("*/result.json"))
            assert len(results) == SEEDS * len(RECIPES), "not all jobs are complete"
            assert all(json.loads(path.read_text())["compiled"] for path in results)
    return seconds
