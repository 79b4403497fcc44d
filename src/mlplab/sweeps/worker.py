"""Workers of a sweep: each takes the next job that is free, trains it in a process of its own, and takes the next."""

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
from mlplab.errors import MlplabError, Paused
from mlplab.runs import folder as run_folder
from mlplab.runs.log_file import LogFile
from mlplab.runs.result import State, write_status
from mlplab.sweeps import child, stop
from mlplab.sweeps.job import Job
from mlplab.sweeps.queue import SWEEP, Queue

log = logging.getLogger(__name__)

POLL_S = 0.5
SIGNAL_S = 1.0  # between what a terminal sends to a job and what it sends to the sweep


class Recipe(NamedTuple):
    """What the configuration of a job is made from, with its overrides."""

    loader: ConfigLoader
    composed: DictConfig  # of the sweep


class Worker(threading.Thread):
    """A thread that trains jobs until none is left, or it is to stop; `gpu` is as CUDA_VISIBLE_DEVICES names it."""

    def __init__(self, queue: Queue, recipe: Recipe, gpu: str | None = None) -> None:
        super().__init__(daemon=True)
        self.queue = queue
        self.recipe = recipe
        self.gpu = gpu
        self.leave_within: float | None = None  # seconds, once this worker alone is to stop

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
            else:  # others have what is left, and one of them may die
                time.sleep(POLL_S)

    def _train(self, job: Job) -> None:
        before = job.sign_of_life()
        ended = child.run(train, (job.folder, job.overrides, self.recipe, self.gpu, job.until), self._grace)
        if ended.is_interrupted:
            time.sleep(SIGNAL_S * (self._grace() is None))
        if ended.code == 0 and job.state() == "open":  # it would be trained for ever
            ended = child.Ended(1, "it left no result that can be read")
        was_stopped = ended.is_interrupted and self._grace() is not None
        if ended.code:
            _note(job, ended, was_stopped, is_silent=job.sign_of_life() == before)
        if ended.is_refused and not self.queue.has_success():  # the others would be refused as well
            stop.ask(self.queue.folder, stop.Stop(ended.code, ended.reason))

    def _grace(self) -> float | None:
        """The seconds that a job has to save and to end; None if nobody asked it to."""
        asked = stop.asked(self.queue.folder)
        return self.leave_within if asked is None else asked.grace_s


def spread(devices: Sequence[str], count: int) -> list[str | None]:
    """The GPU of each worker; where there is one at most, nothing has to be chosen."""
    return [devices[i % len(devices)] if len(devices) > 1 else None for i in range(count)]


def gpus(devices: Path = Path("/dev")) -> list[str]:
    """The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; what it hides stays hidden."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    return [str(index) for index in range(len(list(devices.glob("nvidia[0-9]*"))))]


def train(folder: Path, overrides: Sequence[str], recipe: Recipe, gpu: str | None, until: int | None = None) -> None:
    """Train a job, in its process, to its end or its next pause; its log has whatever it prints."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    from mlplab.sweeps import preload  # noqa: F401  # imported already in the copy of a process that did
    from mlplab.training import run

    with run_folder.locked(folder):
        write_status(folder, "running")
        _log_to(folder / "train.log")
        composed = recipe.loader.load_sweep_config(recipe.composed, list(overrides))
        config = config_of(composed)
        is_begun = (folder / "checkpoints").exists()
        if until is None or not is_begun:
            write(composed, folder)
        if until is not None:  # what is shown of a run is drawn where it ends
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
    """Write down how a job ended, unless it has done so, for all workers to see."""
    state: State = "interrupted" if was_stopped else "failed"
    status = job.status()
    is_known = not is_silent and status is not None and status.status in (state, "diverged")
    try:
        job.folder.mkdir(exist_ok=True)
        if not is_known:
            write_status(job.folder, state, reason=(ended.reason or "no reason was given").splitlines()[0])
        with (job.folder / "train.log").open("a", encoding="utf-8") as file:
            file.write(f"{ended.reason}\n")
    except (OSError, MlplabError) as error:
        print(f"{job.label}: {error}", file=sys.stderr)
