"""On a signal, or when time is over: finish the block of batches and exit with 128 + signal; the epoch is lost."""

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
from typing import Any, NoReturn

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mlplab import system
from mlplab.errors import Interrupted, say
from mlplab.runs import folder as run_folder
from mlplab.runs.checkpoint_file import DurableCheckpointIO
from mlplab.training.checkpointing import LastCheckpoint

log = logging.getLogger(__name__)


class Interruption(Checkpoint):
    """Notices signals, a closed terminal's too, and after `max_s` seconds of training the end of its time.

    Under SLURM, SIGUSR1 (`sbatch --signal=USR1@60`) also puts the job back into the queue.
    """

    def __init__(self, last: LastCheckpoint, folder: Path, max_s: float = math.inf) -> None:
        self.last = last
        self.max_s = max_s
        self.folder = folder
        self.signal: int | None = None
        self.is_ignored = False  # when the work is done
        self._training = False
        self._started = math.inf
        self._numbers: list[signal.Signals] = []

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Signals are noticed within; before and after training they end the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # nobody else may choose what a signal does
            return
        self._numbers = [*system.ending(), *(system.REQUEUE if "SLURM_JOB_ID" in os.environ else [])]
        before = {number: signal.signal(number, self._notice) for number in self._numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number in self._numbers:
            signal.signal(number, self._notice)  # Lightning has put its own in place of them
        self._training = True
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._time_is_over:
            self._end_of_time(trainer, f"after {trainer.current_epoch} of {trainer.max_epochs} epochs")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        epochs = f"epoch {trainer.current_epoch + 1:,} of {trainer.max_epochs:,}"
        if self._time_is_over and not trainer.is_last_batch and self.signal is None:
            self._end_of_time(trainer, f"in {epochs}, which is lost")
        if self.signal is not None:
            _wait_for_files(trainer)
            raise self._interrupted(
                self.signal, f" in {epochs}, which is lost" if trainer.current_epoch else f" in {epochs}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training = False
        if self.signal is not None:
            _wait_for_files(trainer)
            raise self._interrupted(self.signal, " at the end of training")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._training = False

    @property
    def _time_is_over(self) -> bool:
        return time.monotonic() - self._started > self.max_s

    def _end_of_time(self, trainer: Trainer, when: str) -> NoReturn:
        _wait_for_files(trainer)
        raise Interrupted(signal.SIGTERM, f"trainer.max_time is over {when}.\n{self._way_on()}")

    def _notice(self, number: int, frame: object) -> None:
        if self.is_ignored or (self.signal is not None and number != signal.SIGINT):
            return  # an impatient system is not a person
        if not self._training:
            raise self._interrupted(number, "")
        if self.signal is not None:
            say("Interrupted at once.")
            run_folder.write_status(self.folder, "interrupted", reason="a second Ctrl-C")
            os._exit(130)
        self.signal = number
        say("\n" * os.isatty(2) + "Stopping ...")  # below the bar if there is one

    def _interrupted(self, number: int, when: str) -> Interrupted:
        if number in system.REQUEUE:
            _requeue()
        words = {"SIGINT": "Interrupted", "SIGTERM": "Terminated", "SIGHUP": "The terminal was closed"}
        word = words.get(signal.Signals(number).name, "Signalled")
        return Interrupted(number, f"{word}{when}.\n{self._way_on()}")

    def _way_on(self) -> str:
        if self.last.path.exists():
            return f"Resume with: python train.py {shlex.quote(f'resume={run_folder.short(self.folder)}')}"
        return "Nothing was saved yet."


def _wait_for_files(trainer: Trainer) -> None:
    if isinstance(trainer.strategy.checkpoint_io, DurableCheckpointIO):
        trainer.strategy.checkpoint_io.wait()


def _requeue() -> None:
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_TASK_ID" in os.environ:  # the last task of an array has the number of the whole array, too
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        failed = subprocess.run(["scontrol", "requeue", job], check=False).returncode != 0
    except OSError:
        failed = True
    if failed:
        log.warning(f"scontrol requeue {job} failed: submit the job again")
