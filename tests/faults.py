"""Makes jobs of a sweep fail by their seeds, and draws of a search by their widths.

If HELD names a file, jobs wait as long as it exists. If KILLED_AT_PAUSE names a file that does not exist yet, one run
is killed as it pauses.
"""

import os
import random
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlplab.errors import CheckpointError
from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result
from mlplab.sweeps import worker

CAUSES = {
    1: "ZeroDivisionError: as the test wants it",
    2: "sys.exit(3)",
    3: "the process was killed by SIGKILL, which the system does when memory runs out",
}

_train = worker.train


def _hold(file: Path) -> None:
    """Let training wait after its first epoch, until a signal arrives or the file is deleted."""
    from mlplab.model.classifier import Classifier

    step = Classifier.training_step

    def held(self: Any, *arguments: Any) -> Any:
        while self.current_epoch and file.exists():
            if any(getattr(callback, "signal", None) for callback in self.trainer.callbacks):
                break
            time.sleep(0.02)
        return step(self, *arguments)

    Classifier.training_step = held  # type: ignore[method-assign]


def _kill_at_pause(once: Path) -> None:
    pause = run_folder.pause

    def killed(*arguments: Any) -> None:
        with suppress(FileExistsError):
            once.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        pause(*arguments)

    run_folder.pause = killed


def train_on_a_full_disk(folder: Path, *_: Any) -> None:
    raise CheckpointError(f"{folder}: cannot be written: No space left on device.")


def train_poisoned(folder: Path, *arguments: Any) -> None:
    """Train, and record a random test accuracy."""
    complete = run_folder.complete

    def poisoned(result: Result) -> None:
        complete(result.model_copy(update={"metrics": {**result.metrics, "test/acc": random.random()}}))

    run_folder.complete = poisoned
    _train(folder, *arguments)


def train(folder: Path, *arguments: Any) -> None:
    """Replacement for the task of a job's process."""
    if once := os.environ.get("KILLED_AT_PAUSE"):
        _kill_at_pause(Path(once))
        _train(folder, *arguments)
        return
    if held := os.environ.get("HELD"):
        _hold(Path(held))
        _train(folder, *arguments)
        return
    found = re.search(r"(?:seed=|hidden=1)(\d)\b", folder.name)
    seed = int(found[1]) if found else 0
    if seed in CAUSES:
        folder.mkdir(exist_ok=True)
        with (folder / "train.log").open("a") as log:
            os.dup2(log.fileno(), 2)
    if seed == 1:
        raise ZeroDivisionError("as the test wants it")
    if seed == 2:
        sys.exit(3)
    if seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    _train(folder, *arguments)


def train_without_server(folder: Path, *arguments: Any) -> None:
    """Kill the fork server of this process, once, and train."""
    if "seed=1" in folder.name:
        os.kill(os.getppid(), signal.SIGKILL)
    _train(folder, *arguments)
