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

import hydra
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from mlplab import startup
from mlplab.cli import resume
from mlplab.cli.compose import composing, config_of, plain, resolving, write
from mlplab.config.datasets import DATASETS
from mlplab.config.fields import flatten
from mlplab.config.schema import Config
from mlplab.data import download
from mlplab.errors import ConfigError, JobsFailedError, MlplabError
from mlplab.runs import folder as run_folder
from mlplab.runs.log_file import LogFile
from mlplab.runs.result import State, read_status, write_status
from mlplab.sweeps import processes
from mlplab.sweeps.stop import patience

log = logging.getLogger(__name__)


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
    config: Config
    folder: Path
    anyway: bool  # even with another arithmetic


def job_of_sweep(composed: DictConfig) -> float:
    """The monitored figure of a job of a sweep."""
    folder = Path(HydraConfig.get().runtime.output_dir, os.environ.get(FOLDER, ""))
    return _run_apart(Job(config_of(composed), folder, composed.resume_anyway), composed)


def run(words: list[str], conf: Path) -> None:
    """Train the run that a command line describes, or the rest of the one that it resumes.

    Raises:
        MlplabError: if the command is wrong, or as `training.run.train` does.
    """
    overrides = [word for word in words if not word.startswith("resume=")]  # Hydra would stumble over = in a path
    paths = [word.removeprefix("resume=") for word in words if word not in (*overrides, "resume=null")]
    given = paths[-1] if paths else None
    with composing(overrides, conf), resolving():
        composed = hydra.compose("config", overrides, return_hydra_config=True)
        _refuse_what_does_not_fit(composed, given)
        run_dir = Path(composed.hydra.run.dir).absolute()
        folder = resume.folder_of(given, run_dir)
        named = None if given is None else _named(composed)
    if folder is None:
        _train_run(composed, _begin(run_dir, composed), run_dir)
    elif resumed := _resume(folder, flatten(plain(composed)), named):
        _train_run(composed, resumed.config, folder, resumed.keep_changes)


def _refuse_what_does_not_fit(composed: DictConfig, given: str | None) -> None:
    if composed.sweep_name is not None:
        raise ConfigError("sweep_name: names a sweep, and this is one run. Add -m, or leave it out.")
    if given is not None and any(word.startswith("hydra.run.dir=") for word in composed.hydra.overrides.hydra):
        raise ConfigError("resume: the run stays in its own folder: leave hydra.run.dir out.")


def _named(composed: DictConfig) -> set[str]:
    """The keys and groups that a command gives, by themselves or through another group."""
    default, own = flatten(plain(hydra.compose("config"))), flatten(plain(composed))
    words = {word.lstrip("+~").partition("=")[0] for word in composed.hydra.overrides.task}
    return words | {key for key in {**default, **own} if default.get(key) != own.get(key)}


def _begin(folder: Path, composed: DictConfig) -> Config:
    """Make the folder of a new run, once nothing is wrong."""
    config = config_of(composed)
    download.require(config.data.name, Path(config.data.root))
    run_folder.lock(folder)
    write_status(folder, "running")  # which marks the folder as a run's
    write(composed, folder)
    return config


def _resume(folder: Path, composed: resume.Flat, named: set[str] | None) -> resume.ResumedRun | None:
    """The run to resume, from now on kept from all other processes; None if nothing is left to train."""
    resumed = resume.resumed(folder, composed, named)
    if resumed.is_done:
        print(f"{resumed}. There is nothing to do.")
        return None
    download.require(resumed.config.data.name, Path(resumed.config.data.root))
    run_folder.lock(folder)
    return resume.resumed(folder, composed, named)  # another process may have trained until now


def _train_run(composed: DictConfig, config: Config, folder: Path, began: Callable[[], None] | None = None) -> None:
    """Train within log, environment and working folder as Hydra settles them for a job."""
    composed.hydra.runtime.output_dir = str(folder)
    configure_log(composed.hydra.job_logging, composed.hydra.verbose)
    os.environ.update(composed.hydra.job.env_set)
    if composed.hydra.job.chdir:
        os.chdir(folder)
    log.info(introduction(config, folder))
    startup.import_lightning()  # once the configuration is good, because it takes seconds
    from mlplab.training.run import train

    try:
        train(config, folder, began is not None, began or (lambda: None), composed.resume_anyway)
    except MlplabError as error:
        logging.getLogger("mlplab.errors").error(error)
        raise


def introduction(config: Config, folder: Path) -> str:
    """Say in one line what is to be trained, and where to: mnist, 784-128-10, Adam, batch 32, 5 epochs; ..."""
    data, epochs, facts = config.data, config.trainer.max_epochs, DATASETS[config.data.name]
    widths = "-".join(map(str, (facts.pixels, *config.model.hidden, len(facts.classes))))
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
