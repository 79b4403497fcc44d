"""How long TensorBoard takes to show the curves of 200 runs: `PYTHONPATH=tests python scripts/benchmark --board`."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import chromium

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
RUNS, EPOCHS = 200, 20
CURVE = "by_epoch/val/acc"
PICTURES = Path("build", "screenshots", "benchmark")


def measure() -> None:
    """Print megabytes, and seconds from the start of TensorBoard."""
    with tempfile.TemporaryDirectory() as scratch, chromium.browser(Path(scratch, "profile")) as browser:
        runs = Path(scratch, "runs")
        event_file = _trained(Path(scratch, "run"))
        for number in range(RUNS):
            (runs / f"seed={number}").mkdir(parents=True)
            shutil.copy(event_file, runs / f"seed={number}")
        started = time.perf_counter()
        with chromium.tensorboard(runs, browser, PICTURES) as board:
            board.visit("timeseries", {CURVE}, CURVE)
            board.wait_for_elements("line-chart canvas, line-chart path", 1)
            curves_s = time.perf_counter() - started
            while _count_of_runs(board.address) < RUNS:
                time.sleep(0.1)
            all_s = time.perf_counter() - started
            board.screenshot("board", settle_s=2)
        run_mb = event_file.stat().st_size / 1e6
    print(
        f"{RUNS} runs of {EPOCHS} epochs, {RUNS * run_mb:.0f} MB, {run_mb:.2f} MB each:"
        f" curves after {curves_s:.1f} s, all read after {all_s:.1f} s"
    )


def _trained(folder: Path) -> Path:
    """The event file of a run."""
    recipe = ["experiment=mnist_512x2_rmsprop", f"trainer.max_epochs={EPOCHS}", "trainer.accelerator=cpu"]
    subprocess.run([sys.executable, TRAIN, *recipe, f"hydra.run.dir={folder}"], check=True, capture_output=True)
    (event_file,) = folder.glob("events.out.tfevents.*")
    return event_file


def _count_of_runs(address: str) -> int:
    with urllib.request.urlopen(f"{address}/data/runs") as answer:
        return len(json.load(answer))
