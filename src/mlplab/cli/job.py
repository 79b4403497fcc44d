"""A single run of train.py, in this process."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.utils import configure_log
from omegaconf import DictConfig

from mlplab import startup
from mlplab.cli import resume
from mlplab.cli.compose import composing, config_of, plain, resolving, write
from mlplab.config.fields import flatten
from mlplab.config.schema import Config
from mlplab.data import download
from mlplab.errors import ConfigError, MlplabError
from mlplab.runs import folder as run_folder
from mlplab.runs import folder_lock
from mlplab.runs.result import write_status

log = logging.getLogger(__name__)


def run(words: list[str], conf: Path) -> None:
    """Train the run that a command line describes, or resume one.

    Raises:
        MlplabError: if the command is wrong, or as `training.run.train` does.
    """
    overrides = [word for word in words if not word.startswith("resume=")]  # Hydra cannot parse = in a path
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
        raise ConfigError("sweep_name: this is a single run; add -m for a sweep, or omit sweep_name.")
    if given is not None and any(word.startswith("hydra.run.dir=") for word in composed.hydra.overrides.hydra):
        raise ConfigError("resume: the run stays in its own folder; omit hydra.run.dir.")


def _named(composed: DictConfig) -> set[str]:
    """Return the keys and groups that a command sets, directly or through another group."""
    default, own = flatten(plain(hydra.compose("config"))), flatten(plain(composed))
    words = {word.lstrip("+~").partition("=")[0] for word in composed.hydra.overrides.task}
    return words | {key for key in {**default, **own} if default.get(key) != own.get(key)}


def _begin(folder: Path, composed: DictConfig) -> Config:
    """Create the folder of a new run, once all checks have passed."""
    config = config_of(composed)
    download.require(config.data.key, Path(config.data.root))
    folder_lock.lock(folder)
    write_status(folder, "running")  # marks the folder as a run
    write(composed, folder)
    return config


def _resume(folder: Path, composed: resume.Flat, named: set[str] | None) -> resume.ResumedRun | None:
    """Lock and return the run to resume; None if nothing is left to train."""
    resumed = resume.resumed(folder, composed, named)
    if resumed.is_done:
        print(f"{resumed}. There is nothing to do.")
        return None
    download.require(resumed.config.data.key, Path(resumed.config.data.root))
    folder_lock.lock(folder)
    return resume.resumed(folder, composed, named)  # another process may have trained it in the meantime


def _train_run(composed: DictConfig, config: Config, folder: Path, began: Callable[[], None] | None = None) -> None:
    """Train with the log, environment and working folder that Hydra sets up for a job."""
    composed.hydra.runtime.output_dir = str(folder)
    configure_log(composed.hydra.job_logging, composed.hydra.verbose)
    os.environ.update(composed.hydra.job.env_set)
    if composed.hydra.job.chdir:
        os.chdir(folder)
    log.info(introduction(config, folder))
    startup.import_lightning()  # imported after the configuration is checked, because it takes seconds
    from mlplab.training.run import train

    try:
        train(config, folder, began is not None, began or (lambda: None), composed.resume_anyway)
    except MlplabError as error:
        logging.getLogger("mlplab.errors").error(error)
        raise


def introduction(config: Config, folder: Path) -> str:
    """Describe a run and its folder in one line: mnist, 784-128-10, Adam, batch 32, 5 epochs; run folder ...

    Own data are not read yet, so the number of their pixels and classes is not known.
    """
    data, epochs, facts = config.data, config.trainer.max_epochs, config.data.facts
    ends = (facts.pixels, len(facts.classes)) if facts else ("pixels", "classes")
    widths = "-".join(map(str, (ends[0], *config.model.hidden, ends[1])))
    return (
        f"{data.label}, {widths}, {config.optimizer.name}, batch {data.batch_size}, {epochs} epoch{'s' * (epochs > 1)};"
        f" run folder {run_folder.short(folder)}"
    )
