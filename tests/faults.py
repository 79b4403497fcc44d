"""Jobs of a sweep that go wrong, by their seeds, and draws of a search, by their widths.

Or they are held, where HELD names a file, as long as it is there.
"""

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

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


def train(folder: Path, *arguments: Any) -> None:
    """Replacement for the task of a job's process."""
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
