"""What surrounds a job of Hydra: mistakes are refused before anything is written, errors end in an exit code.

The one module that extends Hydra.
"""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlplab import process, run_folder
from mlplab.config import Config
from mlplab.errors import ConfigError, JobsFailedError, MlplabError, reported
from mlplab.mistakes import nearest, parse
from mlplab.spelling import did_you_mean

log = logging.getLogger(__name__)

# Hydra would want a + before every key that a config file does not list, such as an argument of an optimizer, and
# would stop at the first that is unknown. Open groups take them all, and the schema lists what is wrong.
_GROUPS = ("data", "model", "optimizer", "scheduler", "trainer")
ConfigStore.instance().store("open_groups", {group: DictConfig({}, flags={"struct": False}) for group in _GROUPS})


def config_of(composed: DictConfig) -> Config:
    """Raises ConfigError, with a line for everything that is wrong."""
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        plain = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    return parse({str(key): value for key, value in plain.items()})


def folder() -> Path:
    """The run folder of the job that is running."""
    return Path(HydraConfig.get().runtime.output_dir)


def launch(main: Callable[[], object], conf: Path) -> None:
    """Run a function that `hydra.main` made of `conf`, and end the process with the exit code of what happened."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print before it ends with 1
    signal.signal(signal.SIGTERM, _terminated)
    with reported():
        try:
            main()
        except HydraException as error:
            raise ConfigError("\n".join(_mistakes(error, sys.argv[1:], conf))) from error
        except ValueError as error:
            if "Config group override" not in str(error):
                raise
            raise ConfigError("\n".join(_not_choices(sys.argv[1:], conf))) from error


class Guard(Callback):
    """Hydra calls it before anything is written, and after each job."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with reported():
            config_of(config)
            run_folder.reserve(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a sweep for what is wrong in any of its jobs."""
        with reported():
            if any(Path(config.hydra.sweep.dir).glob("*/checkpoints")):
                raise ConfigError(f"{config.hydra.sweep.dir}: holds a sweep already. Choose another hydra.sweep.dir.")
            mistakes: dict[str, None] = {}  # a set that keeps the order
            jobs = []
            loader = GlobalHydra.instance().config_loader()
            for overrides in _jobs(config, loader):
                try:
                    jobs.append(config_of(loader.load_sweep_config(config, overrides)))
                except HydraException as error:
                    mistakes |= dict.fromkeys(_mistakes(error, [], Path()))
                except ConfigError as error:
                    mistakes |= dict.fromkeys(str(error).splitlines())
            if not mistakes:
                mistakes = _rehearsed(jobs)
            if mistakes:
                raise ConfigError("\n".join(mistakes))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if job_return.status is not JobStatus.FAILED:
            return
        error = job_return._return_value  # the public property prints a line and raises
        expected = isinstance(error, MlplabError)
        if config.hydra.mode is RunMode.MULTIRUN:
            log.error("job %s failed: %s", config.hydra.job.num, error, exc_info=None if expected else error)
            job_return.return_value = JobsFailedError("Some jobs of the sweep failed: what they said stands above.")
        elif expected:
            _note(str(error))
            with reported():
                raise error


def _jobs(config: DictConfig, loader: ConfigLoader) -> list[list[str]]:
    """The overrides of each job, as Hydra's sweeper will combine them."""
    given = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*given, *config.hydra.overrides.task])
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return jobs


def _rehearsed(jobs: list[Config]) -> dict[str, None]:
    """What torch and Lightning say of each job of a sweep: that they are imported is worth it before many runs."""
    process.import_lightning()
    from mlplab.training import rehearse

    mistakes: dict[str, None] = {}
    for job in jobs:
        try:
            rehearse(job)
        except ConfigError as error:
            mistakes |= dict.fromkeys(str(error).splitlines())
    return mistakes


def _note(text: str) -> None:
    """Into train.log alone: standard error has it anyway."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(record)


def _terminated(*_: object) -> None:
    print("Terminated.", file=sys.stderr)
    sys.exit(143)


def _not_choices(arguments: list[str], conf: Path) -> list[str]:
    """What to say of group=choice where the choice is a number or null, which Hydra does not name."""
    lines = []
    for group in sorted(folder.name for folder in conf.iterdir() if folder.is_dir()):
        choices = sorted(file.stem for file in (conf / group).glob("*.yaml"))
        given = (a for a in arguments if a.startswith(f"{group}=") and a.partition("=")[2] not in choices)
        lines += [f"{argument}: unknown, must be one of {', '.join(choices)}" for argument in given]
    return lines


def _mistakes(error: HydraException, arguments: list[str], conf: Path) -> list[str]:
    """What is wrong with a command line: Hydra stops at the first mistake, so it is asked again without that one."""
    culprit = re.match(r"Could not override '([^']+)'", str(error))
    if culprit:
        lines = [f"{culprit[1]}: unknown key{nearest(culprit[1])}"]
        rest = [a for a in arguments if a.lstrip("+~").partition("=")[0] != culprit[1]]
    elif isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        hint = did_you_mean(choice, error.options)
        lines = [f"{group}={choice}: unknown, must be one of {', '.join(error.options)}{hint}"]
        rest = [a for a in arguments if a != f"{group}={choice}"]
    else:
        if isinstance(error, OverrideParseException):
            return [f"{error.override}: not of the form key=value, or a bracket or quote is not closed"]
        said = f"{error}\n{error.__cause__ or ''}"
        return [line for line in said.splitlines() if line.strip() and "https://" not in line][:5]
    if len(rest) == len(arguments) or any(a.startswith("-") for a in rest):
        return lines  # a sweep, or an option of Hydra
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            config_of(compose("config", rest))
    except HydraException as another:
        lines += _mistakes(another, rest, conf)
    except ConfigError as another:
        lines += str(another).splitlines()
    return lines
