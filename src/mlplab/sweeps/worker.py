"""Workers of a sweep: each takes the next free job, trains it in a separate process, and takes the next."""

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from mlplab.cli.compose import config_of, write
from mlplab.cli.job import introduction
from mlplab.config.schema import Show
from mlplab.errors import CheckpointError, MlplabError, Paused
from mlplab.runs import folder_lock
from mlplab.runs.log_file import LogFile
from mlplab.runs.result import State, write_status
from mlplab.sweeps import child, stop
from mlplab.sweeps.job import Job
from mlplab.sweeps.queue import SWEEP, Queue

log = logging.getLogger(__name__)

POLL_S = 0.1
SIGNAL_S = 1.0  # seconds between a terminal's signal to a job and to the sweep


class Recipe(NamedTuple):
    """The part of a job's configuration other than its overrides."""

    loader: ConfigLoader
    composed: DictConfig  # of the sweep


class Worker(threading.Thread):
    """A thread that trains jobs until none is left or it is stopped; `gpu` is a name in CUDA_VISIBLE_DEVICES."""

    def __init__(self, queue: Queue, recipe: Recipe, gpu: str | None = None) -> None:
        super().__init__(daemon=True)
        self.queue = queue
        self.recipe = recipe
        self.gpu = gpu
        self.leave_within: float | None = None  # seconds, once only this worker is to stop

    def run(self) -> None:
        os.environ[SWEEP] = str(self.queue.folder)
        child.preload(["mlplab.sweeps.preload"])
        while self._grace() is None:
            taken = self.queue.take()
            if taken is not None:
                job, claim = taken
                with claim:
                    self._train(job)
            elif self.queue.is_over():
                return
            else:  # other workers have the remaining jobs, and one of them may die
                time.sleep(POLL_S)

    def _train(self, job: Job) -> None:
        before = job.sign_of_life()
        ended = child.run(train, (job.folder, job.overrides, self.recipe, self.gpu, job.until), self._grace)
        if ended.is_interrupted:
            time.sleep(SIGNAL_S * (self._grace() is None))
        if ended.code == 0 and job.state() == "open":  # otherwise it would be trained forever
            ended = child.Ended(1, "it left no readable result")
        was_stopped = ended.is_interrupted and self._grace() is not None
        if ended.code:
            _note(job, ended, was_stopped, is_silent=job.sign_of_life() == before)
        if self.queue.more is not None:  # a search, whose runs have one data set and one disk
            is_refused = ended.is_refused or ended.code == CheckpointError.exit_code
        else:
            is_refused = ended.is_refused and not self.queue.has_success()
        if is_refused:  # others would be, too
            stop.ask(self.queue.folder, stop.Stop(ended.code, ended.reason))

    def _grace(self) -> float | None:
        """Return the seconds that a job has to save and end; None if it was not asked to stop."""
        asked = stop.asked(self.queue.folder)
        return self.leave_within if asked is None else asked.grace_s


def spread(devices: Sequence[str], count: int) -> list[str | None]:
    """Return the GPU of each worker; None if there is at most one GPU."""
    return [devices[i % len(devices)] if len(devices) > 1 else None for i in range(count)]


def gpus(devices: Path = Path("/dev")) -> list[str]:
    """Return the GPUs of this machine, as named in CUDA_VISIBLE_DEVICES if that is set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    return [str(index) for index in range(len(list(devices.glob("nvidia[0-9]*"))))]


def train(folder: Path, overrides: Sequence[str], recipe: Recipe, gpu: str | None, until: int | None = None) -> None:
    """Train a job, in its process, to its end or its next pause; its log has all its output."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    from mlplab.sweeps import preload  # noqa: F401  # already imported in a forked process
    from mlplab.training import run

    with folder_lock.locked(folder):
        write_status(folder, "running")
        _log_to(folder / "train.log")
        composed = recipe.loader.load_sweep_config(recipe.composed, list(overrides))
        config = config_of(composed)
        is_begun = (folder / "checkpoints").exists()
        is_last = until is None or until >= config.trainer.max_epochs
        if is_last or not is_begun:
            write(composed, folder)
        if not is_last:  # pictures are drawn only by the part that ends the run
            config = config.model_copy(update={"show": Show(**dict.fromkeys(Show.model_fields, False))})
        log.info(introduction(config, folder))
        with suppress(Paused):
            run.train(config, folder, resume=is_begun, anyway=composed.resume_anyway, pause_after=until)


def _log_to(path: Path) -> None:
    with suppress(OSError), path.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
    line = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
    logging.basicConfig(format=line, level=logging.INFO, handlers=[LogFile(path)], force=True)


def _note(job: Job, ended: child.Ended, was_stopped: bool, is_silent: bool) -> None:
    """Record how a job ended, unless it has done so itself, for all workers."""
    state: State = "interrupted" if was_stopped else "failed"
    status = job.status()
    is_known = not is_silent and status is not None and status.status in (state, "diverged")
    try:
        job.folder.mkdir(exist_ok=True)
        if not is_known:
            reason = (ended.reason or "no reason was given").splitlines()[0]
            write_status(job.folder, state, reason, counts=not ended.is_refused)
        with (job.folder / "train.log").open("a", encoding="utf-8") as file:
            file.write(f"{ended.reason}\n")
    except (OSError, MlplabError) as error:
        print(f"{job.label}: {error}", file=sys.stderr)
