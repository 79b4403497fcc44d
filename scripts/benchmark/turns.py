"""Contestants in turn, each a process of its own; ratios are taken within a round, so that what slows the machine down
for a while slows all of them.

A first run finds an empty home folder, so nothing that was compiled or cached before, and no compiler on its path; a
later run finds what the first left. What the system keeps of the files on the disk is warm for both.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mnist
from contestants import CONTESTANTS, LIMIT
from recipes import Recipe

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
FIRST = "mlplab"  # the one that the others are compared with
EARLIER = "earlier mlplab, compiled step"
OVERRIDES = {
    FIRST: [],
    "mlplab, bf16-mixed": ["trainer.precision=bf16-mixed"],
    "mlplab, no checkpoints": ["trainer.enable_checkpointing=false"],
    "mlplab, nothing shown": ["show=none"],
    "mlplab, no files": ["show.files=false"],
    EARLIER: ["compile=true"],
}
WITH_FIRST_RUNS = (FIRST, "Keras on JAX", "JAX scan")
KINDS = ("epoch_s", "first_s", "later_s", "peak_mb")
Turn = dict[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """What is timed, how often, and where the checkout of an earlier version lies."""

    contestants: Sequence[str]
    rounds: int
    earlier: Path | None = None

    def results(self, recipe: Recipe, first_runs: bool) -> dict[str, dict[str, Any]]:
        """Of each contestant, see `summary`."""
        turns: dict[str, list[Turn]] = {contestant: [] for contestant in self.contestants}
        with tempfile.TemporaryDirectory() as shared:
            for contestant in self.contestants:
                if contestant != LIMIT and not (first_runs and contestant in WITH_FIRST_RUNS):
                    self.turn(recipe, contestant, Path(shared), 1)  # not counted: fills its caches
            for number in range(self.rounds):
                for contestant, taken in turns.items():
                    with tempfile.TemporaryDirectory() as own:
                        first = {}
                        if with_first := first_runs and contestant in WITH_FIRST_RUNS:
                            first = {"first_s": self.turn(recipe, contestant, Path(own), seed=number)["later_s"]}
                        home = Path(own if with_first else shared)
                        taken.append({**self.turn(recipe, contestant, home, seed=number), **first})
                    said = ", ".join(f"{kind} {taken[-1][kind]:.2f}" for kind in KINDS if kind in taken[-1])
                    print(f"{recipe.title}, round {number + 1}, {contestant}: {said}", flush=True)
        reference = turns.get(FIRST, next(iter(turns.values())))
        return {contestant: summary(taken, reference) for contestant, taken in turns.items()}

    def turn(self, recipe: Recipe, contestant: str, home: Path, epochs: int = 0, seed: int = 0) -> Turn:
        """Seconds by epoch, of the median epoch but the first, and from start to end; peak memory; test accuracy."""
        epochs = epochs or recipe.epochs
        if contestant in CONTESTANTS:
            told = json.dumps({**asdict(recipe), "epochs": epochs})
            output, seconds, peak = run([str(HERE / "contestants.py"), contestant, told], environment(home))
            outcome = json.loads(output.splitlines()[-1])
        else:
            with tempfile.TemporaryDirectory() as folder:
                changed = [
                    f"experiment={recipe.experiment}",
                    f"model.hidden={list(recipe.hidden)}",
                    f"data.batch_size={recipe.batch_size}",
                    f"trainer.max_epochs={epochs}",
                    "trainer.accelerator=cpu",
                    "trainer.enable_progress_bar=true",  # as a person would see it; the others have theirs
                    f"seed={seed}",
                    f"hydra.run.dir={folder}/run",
                    *OVERRIDES[contestant],
                ]
                checkout = self.earlier if contestant == EARLIER else None
                command = [str((checkout or PROJECT) / "train.py"), *changed]
                _, seconds, peak = run(command, environment(home, checkout))
                result = json.loads(Path(folder, "run", "result.json").read_text(encoding="utf-8"))
            epochs_s = [epoch["seconds"] for epoch in result["history"]]
            outcome = {"epochs_s": epochs_s, "test_acc": result["metrics"]["test/acc"]}
        if contestant != LIMIT:
            outcome |= {"later_s": seconds, "peak_mb": peak}
        return {**outcome, "epoch_s": statistics.median(outcome["epochs_s"][1:] or outcome["epochs_s"])}


def summary(turns: list[Turn], reference: list[Turn]) -> dict[str, Any]:
    """Medians, how many times its figures the reference's are in each round, and the turns themselves."""
    kinds = [kind for kind in KINDS if kind in turns[0]]
    return {
        "medians": {kind: statistics.median(turn[kind] for turn in turns) for kind in kinds},
        "ratios": {
            kind: [other[kind] / turn[kind] for other, turn in zip(reference, turns, strict=True)]
            for kind in kinds
            if kind in reference[0]
        },
        "turns": turns,
    }


def environment(home: Path, earlier: Path | None = None) -> dict[str, str]:
    """One thread, nothing cached outside `home`; an earlier version finds its compiler."""
    without = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX", "MPLCONFIGDIR")}
    return without | {
        "PATH": os.environ["PATH"] if earlier else str(home),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "TMPDIR": str(home),  # where Inductor keeps what it compiles
        "MLPLAB_DATA": str(mnist.data_root()),
        "PYTHONPATH": str((earlier or PROJECT) / "src"),
        "OMP_NUM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(home / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # all that is compiled is kept
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def run(arguments: list[str], environment: dict[str, str]) -> tuple[str, float, float]:
    """Standard output of a Python program, seconds, and peak memory in MB."""
    command = [sys.executable, *arguments]
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
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
