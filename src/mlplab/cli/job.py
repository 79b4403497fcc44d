"""What train.py is to do: one run, in this process, or as a job of a sweep in a process of its own."""

import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import ClassVar, Self

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mlplab import startup
from mlplab.cli.compose import config_of
from mlplab.cli.resume import Earlier
from mlplab.config.schema import PIXELS, Config
from mlplab.errors import JobsFailedError, MlplabError
from mlplab.runs import folder as run_folder
from mlplab.runs.log_file import LogFile
from mlplab.runs.result import State, read_status, write_status
from mlplab.sweeps import processes
from mlplab.sweeps.stop import patience

log = logging.getLogger(__name__)

CLASSES = 10  # of each data set

# In the environment of the processes that run the jobs of a sweep:
FOLDER = "MLPLAB_JOB"  # of the job, in that of the sweep
LEADER = "MLPLAB_SWEEP"  # the process that began it: host:pid
DATA = "MLPLAB_SWEEP_DATA"  # the data sets that its jobs share, as JSON: [["mnist", "/folder"], ...]


def announce_sweep(data: Sequence[tuple[str, str]]) -> None:
    """To the processes that this one begins."""
    os.environ[LEADER] = f"{socket.gethostname()}:{os.getpid()}"
    os.environ[DATA] = json.dumps(data)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # joblib would give each worker its share of the cores


def become_worker_of_sweep() -> None:
    """If this is a process of the machine that leads it, and not the one that does."""
    host, _, leader = os.environ.get(LEADER, "").rpartition(":")
    if host == socket.gethostname() and leader != str(os.getpid()):
        processes.become_worker(int(leader))


@dataclass(frozen=True)
class Job:
    """What is to be trained."""

    config: Config
    folder: Path
    resume: bool
    began: Callable[[], None]  # to be called once it is sure that the run goes on
    anyway: bool  # even with another arithmetic

    earlier: ClassVar[Earlier | None] = None  # set by Guard: Hydra hands nothing from one hook to the next

    @classmethod
    def of(cls, composed: DictConfig) -> Self:
        """The job that is running."""
        earlier = cls.earlier
        if earlier is not None:
            return cls(earlier.config, earlier.folder, True, earlier.keep_changes, composed.resume_anyway)
        assert composed.resume is None, "the run to go on with was not looked at"
        folder = Path(HydraConfig.get().runtime.output_dir, os.environ.get(FOLDER, ""))
        return cls(config_of(composed), folder, False, lambda: None, composed.resume_anyway)


def run(composed: DictConfig) -> float:
    """The monitored figure of a run, or of a job of a sweep.

    Raises:
        MlplabError: as `training.train` does; JobsFailedError if the process of a job came to no result.
    """
    job = Job.of(composed)
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        return _run_apart(job, composed)
    log.info(introduction(job.config, job.folder))
    startup.import_lightning()  # once the configuration is good, because it takes seconds
    from mlplab.training.run import train

    return train(job.config, job.folder, job.resume, job.began, job.anyway).score


def introduction(config: Config, folder: Path) -> str:
    """Say in one line what is to be trained, and where to: mnist, 784-128-10, Adam, batch 32, 5 epochs; ..."""
    data, epochs = config.data, config.trainer.max_epochs
    widths = "-".join(map(str, (PIXELS[data.name], *config.model.hidden, CLASSES)))
    return (
        f"{data.name}, {widths}, {config.optimizer.name}, batch {data.batch_size}, {epochs} epoch{'s' * (epochs > 1)};"
        f" run folder {run_folder.short(folder)}"
    )


def _run_apart(job: Job, composed: DictConfig) -> float:
    """In a process of its own, so that nothing that happens to it happens to others."""
    become_worker_of_sweep()
    sweep_folder = job.folder.parent
    if patience(sweep_folder) is not None:
        raise JobsFailedError("The sweep was stopped before this job began.")
    try:
        with run_folder.locked(job.folder):
            write_status(job.folder, "running")
            _write_configuration(job.folder / ".hydra", composed)
        processes.preload(["mlplab.sweeps.preload"])
        score: float = processes.run(_train, (job.config, job.folder, job.anyway), lambda: patience(sweep_folder))
    except processes.Ended as ended:
        _note(job.folder, ended)
        raise JobsFailedError(f"{run_folder.short(job.folder)}: {ended}") from None
    except MlplabError:
        raise
    except Exception as error:
        _note(job.folder, processes.Ended(1, traceback.format_exc()), f"{type(error).__name__}: {error}")
        raise JobsFailedError(f"{run_folder.short(job.folder)}: {type(error).__name__}: {error}") from None
    return score


def _write_configuration(folder: Path, composed: DictConfig) -> None:
    """As Hydra does for a single run."""
    hydra = HydraConfig.get()
    folder.mkdir(exist_ok=True)
    files = {"config": composed, "hydra": OmegaConf.create({"hydra": hydra}), "overrides": hydra.overrides.task}
    for name, content in files.items():
        run_folder.write(folder / f"{name}.yaml", OmegaConf.to_yaml(content).encode())


def _train(config: Config, folder: Path, anyway: bool) -> float:
    """What the process of a job does; whatever it prints goes into its log."""
    path = folder / "train.log"
    with suppress(OSError), path.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
    handler = LogFile(path)
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"))
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    log.info(introduction(config, folder))
    _choose_gpu(folder.parent)
    from mlplab.training.run import train

    return train(config, folder, resume=(folder / "checkpoints").exists(), anyway=anyway).score


_gpus: list[FileLock] = []  # a lock that nobody refers to is given back


def _choose_gpu(sweep_folder: Path) -> None:
    """Take the one that the fewest jobs of the sweep have, for as long as this process lives.

    What CUDA_VISIBLE_DEVICES hides stays hidden.
    """
    import torch

    gpus = torch.cuda.device_count()
    if gpus < 2:
        return
    visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))).split(",")
    for place in count():
        for gpu in visible:
            lock = FileLock(sweep_folder / f".gpu-{socket.gethostname()}-{gpu}-{place}")
            with suppress(Timeout):
                lock.acquire(timeout=0)
                _gpus.append(lock)
                os.environ["CUDA_VISIBLE_DEVICES"] = gpu
                return


def _note(folder: Path, ended: processes.Ended, reason: str | None = None) -> None:
    """Into the log, and into status.json unless the job has done so itself."""
    status = read_status(folder)
    state: State = "interrupted" if ended.code in (130, 143) else "failed"
    if status is None or status.status == "running":
        write_status(folder, state, reason=(reason or ended.reason).splitlines()[0])
    with suppress(OSError), (folder / "train.log").open("a", encoding="utf-8") as file:
        file.write(f"{ended}\n")
