"""Runs the same search with one worker and with two, and random search, in turn."""

import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from record import EPOCHS, WORDS

PROJECT = Path(__file__).resolve().parents[2]
COMMON = (
    *WORDS,
    *("data=fashion", "data.batch_size=128", f"trainer.max_epochs={EPOCHS}", "trainer.accelerator=cpu"),
    *("search.finalists=0", "sweep_name=live"),
)
KINDS = {
    "one worker": ("search=halving", "jobs=1"),
    "two workers": ("search=halving", "jobs=2"),
    "two workers, complete runs of random draws": ("search=random", "jobs=2"),
}
Turn = dict[str, Any]


def turns(rounds: int, budget: int) -> dict[str, list[Turn]]:
    """Return the minutes of each search, the share of them in which a worker trained, and the best accuracy."""
    found: dict[str, list[Turn]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        for kind, words in KINDS.items():
            found[kind].append(_turn((*words, f"search.budget={budget}", f"search.seed={number}"), words[-1]))
            print(f"round {number + 1}, {kind}: {json.dumps(found[kind][-1])}", flush=True)
    return found


def _turn(words: tuple[str, ...], jobs: str) -> Turn:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(PROJECT / "train.py"), *COMMON, *words]
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        runs = Path(folder, "outputs", "sweeps", "live")
        pieces = [piece for path in runs.glob("*/train.log") for piece in _pieces(path)]
        trained = sum(last - first for first, last in pieces)
        wall = max(last for _, last in pieces) - min(first for first, _ in pieces)
        accs = [json.loads(path.read_text())["metrics"]["val/acc"] for path in runs.glob("*/result.json")]
    busy = trained / wall / int(jobs.removeprefix("jobs="))
    return {"minutes": seconds / 60, "idle": 1 - busy, "pieces": len(pieces), "val_acc": max(accs)}


def _pieces(log: Path) -> list[tuple[float, float]]:
    """Return when each part of a run logged first and last."""
    pieces: list[tuple[float, float]] = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            now = datetime.strptime(line[1:24], "%Y-%m-%d %H:%M:%S,%f").timestamp()
        except ValueError:  # a line without a time belongs to the one before
            continue
        first = now if "; run folder " in line else pieces[-1][0]
        pieces = [*(pieces if "; run folder " in line else pieces[:-1]), (first, now)]
    return pieces
