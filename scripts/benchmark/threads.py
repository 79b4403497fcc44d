"""What a second thread gains: seconds of an epoch with one and two, on an idle machine and beside a busy process."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recipes import RECIPES

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
EPOCHS = 4  # of a turn, the first of which does not count


def measure(rounds: int) -> dict[str, Any]:
    """Medians, by recipe, by what else runs, and by threads. All processors may be used."""
    found: dict[str, Any] = {}
    for recipe in RECIPES:
        for company in ("alone", "beside a busy process"):
            turns: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(rounds):
                for threads, seconds in turns.items():
                    with busy(company != "alone"):
                        seconds.append(epoch_s(recipe, threads))
            medians = {threads: statistics.median(seconds) for threads, seconds in turns.items()}
            found.setdefault(recipe, {})[company] = {"epoch_median_s": medians, "epoch_s": turns}
            print(
                f"{recipe}, {company}: " + ", ".join(f"{k} threads {s:.2f} s" for k, s in medians.items()), flush=True
            )
    return {"rounds": rounds, "recipes": found}


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def epoch_s(recipe: str, threads: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, TRAIN, f"experiment={recipe}", f"trainer.max_epochs={EPOCHS}",
             "trainer.accelerator=cpu", f"hydra.run.dir={folder}/run"],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)}, check=True, capture_output=True,
        )  # fmt: skip
        history = json.loads(Path(folder, "run", "result.json").read_text(encoding="utf-8"))["history"]
    return float(statistics.median(epoch["seconds"] for epoch in history[1:]))
