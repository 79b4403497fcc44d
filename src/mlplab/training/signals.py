"""Stops a run: a signal, or the end of its time, sets a flag that is checked at the end of each block."""

import logging
import math
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mlplab import startup
from mlplab.errors import Interrupted, Paused, say
from mlplab.runs import folder as run_folder
from mlplab.runs.result import write_status
from mlplab.training.checkpointing import release

log = logging.getLogger(__name__)

WORDS = {"SIGINT": "Interrupted", "SIGTERM": "Terminated", "SIGHUP": "The terminal was closed"}


class Interruption(Callback):
    """Raises Interrupted after a block, or between two epochs, once a signal has come or `max_s` seconds are over.

    Raises Paused between two epochs, once `pause_after` of them are trained.

    An epoch whose last block is done is finished and saved first; the end of training is no longer interrupted. Under
    SLURM, SIGUSR1 (`sbatch --signal=USR1@60`) also puts the job back into the queue.
    """

    def __init__(self, folder: Path, max_s: float = math.inf, pause_after: int | None = None) -> None:
        self.folder = folder
        self.max_s = max_s  # of training
        self.pause_after = pause_after
        self.signal: int | None = None
        self._started = math.inf
        self._numbers: list[signal.Signals] = []

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Let signals set the flag within the context; only the main thread may set signal handlers."""
        if threading.current_thread() is threading.main_thread():
            self._numbers = [*startup.ending_signals(), *(startup.REQUEUE if "SLURM_JOB_ID" in os.environ else [])]
        before = {number: signal.signal(number, self._hear) for number in self._numbers}
        try:
            yield
        except SystemExit:  # raised by Lightning, which installs its handler when its loops begin
            if self.signal is None:
                raise
            raise self._interrupted("") from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()
        self._listen_alone()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_asked(trainer, f" after {trainer.current_epoch:,} of {trainer.max_epochs:,} epochs")
        if self.pause_after is not None and trainer.current_epoch >= self.pause_after:
            _save(trainer)
            raise Paused

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_last_batch:
            epoch = trainer.current_epoch + 1
            lost = ", which is lost" if epoch > 1 else ""
            self._stop_if_asked(trainer, f" in epoch {epoch:,} of {trainer.max_epochs:,}{lost}")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen_alone()

    def _listen_alone(self) -> None:
        """Replace Lightning's handler, which would end the process with exit code 0."""
        for number in self._numbers:
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        if self.signal is None:
            self.signal = number
            say("\n" * os.isatty(2) + "Stopping ...")  # below the bar if there is one
        elif number == signal.SIGINT:  # only a second Ctrl-C ends at once, because schedulers repeat SIGTERM
            say("Interrupted at once.")
            write_status(self.folder, "interrupted", "a second Ctrl-C")
            os._exit(130)

    def _stop_if_asked(self, trainer: Trainer, where: str) -> None:
        if self.signal is not None or time.monotonic() - self._started > self.max_s:
            _save(trainer)
            raise self._interrupted(where)

    def _interrupted(self, where: str) -> Interrupted:
        number = self.signal or signal.SIGTERM
        if number in startup.REQUEUE:
            _requeue()
        word = WORDS.get(signal.Signals(number).name, "Signalled") if self.signal else "trainer.max_time is over"
        return Interrupted(number, f"{word}{where}.\n{self._way_on()}")

    def _way_on(self) -> str:
        if run_folder.checkpoint(self.folder, "last").exists():
            return f"Resume with: python train.py {shlex.quote(f'resume={run_folder.short(self.folder)}')}"
        return "Nothing was saved yet."


def _save(trainer: Trainer) -> None:
    """Wait until the checkpoint of the last epoch is on the disk."""
    release(trainer)
    trainer.strategy.checkpoint_io.teardown()


def _requeue() -> None:
    """Requeue the SLURM job; the last task of an array also has the number of the whole array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    try:
        failed = subprocess.run(["scontrol", "requeue", job], check=False).returncode != 0
    except OSError:
        failed = True
    if failed:
        log.warning(f"scontrol requeue {job} failed: submit the job again")
