"""Runs the same search with one worker and with two, and random search, in turn."""

import json
import subprocess
import sys
import tempfile
import time
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
EVERY_S = 0.05  # between counts of the processes


def turns(rounds: int, budget: int) -> dict[str, list[Turn]]:
    """Return the minutes of each search, the share of them in which a worker had no run, and the best accuracy."""
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
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as search:
            at_work = [_runs_at_work(search.pid)]
            while search.poll() is None:
                time.sleep(EVERY_S)
                at_work.append(_runs_at_work(search.pid))
        seconds = time.perf_counter() - started
        if search.returncode:
            raise subprocess.CalledProcessError(search.returncode, command)
        runs = Path(folder, "outputs", "sweeps", "live")
        pieces = sum(path.read_text(encoding="utf-8").count("; run folder ") for path in runs.glob("*/train.log"))
        accs = [json.loads(path.read_text())["metrics"]["val/acc"] for path in runs.glob("*/result.json")]
    begun = [n for n, count in enumerate(at_work) if count]
    busy = sum(at_work) / (begun[-1] + 1 - begun[0]) / int(jobs.removeprefix("jobs="))
    return {"minutes": seconds / 60, "idle": 1 - busy, "pieces": pieces, "val_acc": max(accs)}


def _runs_at_work(search: int) -> int:
    """Count the processes that the fork servers of a search have started (on Linux)."""
    return sum(len(_children(server)) for server in _children(search))


def _children(process: int) -> list[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:  # it has just ended
        return []
    return [int(number) for number in " ".join(lists).split()]
