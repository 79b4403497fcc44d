"""Runs as processes, and their comparison."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import states

PROJECT = Path(__file__).resolve().parents[2]
TRAIN = [sys.executable, str(PROJECT / "train.py")]

# One run after another of these must end the same, wherever it was stopped. Epochs of 39 steps: one block of all where
# validation comes after them, blocks of one step where it comes between them.
KINDS = {
    "one cycle, SGD": ["scheduler=onecycle", "optimizer=sgd", "optimizer.lr=0.05", "trainer.val_check_interval=0.5"],
    "early stopping, Adam, dropout": ["model.dropout=0.3", "early_stopping.patience=30"],
}
RUN = [
    "data=digits",
    "model.hidden=[64,64]",
    "trainer.max_epochs=150",
]


def start(folder: Path, *arguments: str, program: str = "train.py", **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROJECT / program), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the output."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out + err


def whole(folder: Path, kind: str) -> tuple[Path, float]:
    """Train an undisturbed run; return also the seconds from its first epoch to its last."""
    run = folder / f"whole-{list(KINDS).index(kind)}"
    with start(folder, *RUN, *KINDS[kind], f"hydra.run.dir={run}") as process:
        assert process.stdout is not None
        first = None
        for line in process.stdout:
            if line.startswith("epoch ") and first is None:
                first = time.monotonic()
        assert process.wait() == 0, "the run that nobody stops failed"
    assert first is not None
    return run, time.monotonic() - first


def wait_for_training(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch "):
            return


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    return finish(process)


def resumed(folder: Path, run: Path, expected: Path, *arguments: str) -> list[str]:
    """Resume a run to its end, and list its differences from the undisturbed one."""
    with start(folder, *(arguments or [f"resume={run}"])) as process:
        code, printed = finish(process)
    return states.problems(run, expected) if code == 0 else [f"ended with {code}: {printed[-500:]}"]
