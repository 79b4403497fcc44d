"""Runs as processes, and their comparison."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import states

PROJECT = Path(__file__).resolve().parents[2]

# One run after another of these must end the same, wherever it was stopped. Epochs of 39 steps: one block of all where
# validation comes after them, blocks of one step where it comes between them.
KINDS = {
    "one cycle, SGD": ["scheduler=onecycle", "optimizer=sgd", "optimizer.lr=0.05", "trainer.val_check_interval=0.5"],
    "early stopping, Adam, dropout": ["model.dropout=0.3", "early_stopping.patience=30"],
}
RUN = ["data=digits", "model.hidden=[64,64]", "trainer.max_epochs=150"]


def start(
    folder: Path,
    *arguments: str,
    program: str = "train.py",
    before: Callable[[], None] | None = None,
    **environment: str,
) -> subprocess.Popen[str]:
    """Start a program; `before` is called in its process."""
    command = [sys.executable, str(PROJECT / program), *arguments]
    how: dict[str, Any] = {"cwd": folder, "env": {**os.environ, **environment}, "preexec_fn": before}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the output."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out + err


def finished(folder: Path, *arguments: str, **how: Any) -> tuple[int, str]:
    """Run a program to its end, as `start` does; return the exit code and the output."""
    with start(folder, *arguments, **how) as process:
        return finish(process)


def together(folder: Path, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Start several at once; return the exit code and the output of each."""
    processes = [start(folder, *command) for command in commands]
    outcomes = []
    for process in processes:
        with process:
            outcomes.append(finish(process))
    return outcomes


def problems(code: int, printed: str, expected: int = 0) -> list[str]:
    """Say with what a program ended, unless it is as expected."""
    return [] if code == expected else [f"ended with {code}: {printed[-500:]}"]


def whole(folder: Path, kind: str) -> tuple[Path, float]:
    """Train an undisturbed run; return also the seconds from its first epoch to its last."""
    run = folder / f"whole-{list(KINDS).index(kind)}"
    with start(folder, *RUN, *KINDS[kind], f"hydra.run.dir={run}") as process:
        first = None
        for line in process.stdout:
            if line.startswith("epoch ") and first is None:
                first = time.monotonic()
        assert process.wait() == 0, "the run that nobody stops failed"
    return run, time.monotonic() - first


def wait_for_training(process: subprocess.Popen[str]) -> None:
    for line in process.stdout:
        if line.startswith("epoch "):
            return


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    return finish(process)


def resumed(folder: Path, run: Path, expected: Path, *arguments: str) -> list[str]:
    """Resume a run to its end, and list its differences from the undisturbed one."""
    return problems(*finished(folder, *(arguments or [f"resume={run}"]))) or states.problems(run, expected)
