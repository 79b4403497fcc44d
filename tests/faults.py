"""Jobs of a sweep that go wrong, by their seeds."""

import os
import signal
import sys
from pathlib import Path

from mlplab.command import job
from mlplab.config import Config

CAUSES = {
    1: "ZeroDivisionError: as the test wants it",
    2: "sys.exit(3)",
    3: "the process was killed by SIGKILL, as the system does when memory is short",
}

_train = job._train


def train(config: Config, folder: Path, anyway: bool) -> float:
    """In place of what the process of a job does."""
    if config.seed in CAUSES:
        with (folder / "train.log").open("a") as log:
            os.dup2(log.fileno(), 2)
    if config.seed == 1:
        raise ZeroDivisionError("as the test wants it")
    if config.seed == 2:
        sys.exit(3)
    if config.seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return _train(config, folder, anyway)
