"""Runs the contestants in turn, each in a separate process.

Ratios are taken within a round, so that a temporary slowdown of the machine affects all contestants. A first run has an
empty home folder, without compiled or cached files, and no compiler on its path; the later run uses the files of the
first one. The system's file cache is warm for both.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mnist
from contestants import LIMIT, MODULES
from recipes import Recipe

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
FIRST = "mlplab"  # the baseline of the ratios
KINDS = ("epoch_s", "first_s", "later_s", "peak_mb")
Turn = dict[str, Any]


def results(recipe: Recipe, rounds: int) -> dict[str, dict[str, Any]]:
    """Time the contestants; return the medians of each, the ratios of mlplab's figures to them, and its turns."""
    turns: dict[str, list[Turn]] = {name: [] for name in (FIRST, *MODULES)}
    for number in range(rounds):
        for name, taken in turns.items():
            with tempfile.TemporaryDirectory() as home:
                first = {} if name == LIMIT else {"first_s": turn(recipe, name, Path(home), number)["later_s"]}
                taken.append(turn(recipe, name, Path(home), number) | first)
            said = ", ".join(f"{kind} {taken[-1][kind]:.2f}" for kind in KINDS if kind in taken[-1])
            print(f"{recipe.title}, round {number + 1}, {name}: {said}", flush=True)
    return {name: summary(taken, turns[FIRST]) for name, taken in turns.items()}


def turn(recipe: Recipe, name: str, home: Path, seed: int) -> Turn:
    """Run a contestant; return seconds by epoch, of the median epoch after the first, and in total; MB; accuracy."""
    if name == FIRST:
        with tempfile.TemporaryDirectory() as folder:
            overrides = [
                f"experiment={recipe.experiment}", f"trainer.max_epochs={recipe.epochs}", "trainer.accelerator=cpu",
                f"model.hidden={list(recipe.hidden)}".replace(" ", ""),
                "trainer.enable_progress_bar=true",  # as a user sees it; the others report their own
                f"seed={seed}", f"hydra.run.dir={folder}/run",
            ]  # fmt: skip
            _, seconds, peak = run([str(PROJECT / "train.py"), *overrides], home)
            result = json.loads(Path(folder, "run", "result.json").read_text(encoding="utf-8"))
        epochs_s = [epoch["seconds"] for epoch in result["history"]]
        outcome = {"epochs_s": epochs_s, "test_acc": result["metrics"]["test/acc"]}
    else:
        output, seconds, peak = run([str(HERE / "contestants.py"), name, json.dumps(asdict(recipe))], home)
        outcome = json.loads(output.splitlines()[-1])
    if name != LIMIT:
        outcome |= {"later_s": seconds, "peak_mb": peak}
    return outcome | {"epoch_s": statistics.median(outcome["epochs_s"][1:] or outcome["epochs_s"])}


def summary(turns: list[Turn], first: list[Turn]) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if kind in turns[0]]
    ratios = {kind: [other[kind] / own[kind] for other, own in zip(first, turns, strict=True)] for kind in kinds}
    medians = {kind: statistics.median(own[kind] for own in turns) for kind in kinds}
    return {"medians": medians, "ratios": ratios, "turns": turns}


def run(arguments: list[str], home: Path) -> tuple[str, float, float]:
    """Return the standard output of a Python program, its seconds, and its peak memory in MB."""
    command = [sys.executable, *arguments]
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(home)) as process,
    ):
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read().decode()[-3000:]}")
    return output, seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def environment(home: Path) -> dict[str, str]:
    """Return environment variables for one thread, and for no cache outside `home`."""
    without = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX", "MPLCONFIGDIR")}
    folders = dict.fromkeys(("PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR"), str(home))
    own = {
        "MLPLAB_DATA": str(mnist.data_root()),
        "PYTHONPATH": str(PROJECT / "src"),
        "OMP_NUM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(home / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # caches everything that is compiled
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return without | folders | own
