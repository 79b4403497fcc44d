"""What happens around a job of Hydra: mistakes are refused before anything is written, failures are reported."""

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from mlplab import system
from mlplab.cli import resume
from mlplab.cli.compose import config_of
from mlplab.cli.hydra_errors import mistakes as said_by_hydra
from mlplab.cli.job import Job
from mlplab.data import download
from mlplab.errors import ConfigError, MlplabError, reported
from mlplab.runs import folder as run_folder
from mlplab.runs.result import write_status

log = logging.getLogger(__name__)


@contextmanager
def _fatal() -> Iterator[None]:
    """Ends the process at whatever is wrong: of an exception Hydra would make a warning, and go on."""
    with reported():
        try:
            yield
        except HydraException as error:
            raise ConfigError("\n".join(said_by_hydra(error, [], Path()))) from error
        except OmegaConfBaseException as error:
            raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
        except MlplabError:
            raise
        except Exception:
            traceback.print_exc()
            sys.exit(1)


class Guard(Callback):
    """Hydra calls it before anything is written, and after each job."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _fatal():
            if config.sweep_name is not None:
                raise ConfigError("sweep_name: names a sweep, and this is one run. Add -m, or leave it out.")
            folder = resume.folder_of(config)
            if folder is None:
                data = config_of(config).data
                download.require(data.name, Path(data.root))
                run_folder.lock(Path(config.hydra.run.dir))
                write_status(Path(config.hydra.run.dir), "running")  # which marks the folder as a run's
                return
            named = any(override.startswith("hydra.run.dir=") for override in config.hydra.overrides.hydra)
            if config.resume is not None and named:
                raise ConfigError("resume: goes on in the run's own folder, without hydra.run.dir.")
            earlier = resume.earlier(folder, config)
            if earlier.is_done:
                print(f"{earlier}. There is nothing to do.")
                sys.exit(0)
            download.require(earlier.config.data.name, Path(earlier.config.data.root))
            run_folder.lock(folder)
            Job.earlier = resume.earlier(folder, config)  # as it is now that nobody else can change it
            with read_write(config):
                config.hydra.run.dir = str(folder)
                config.hydra.output_subdir = None  # the configuration is there, and stays

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _fatal():
            if not system.CAN_FORK:
                raise ConfigError("-m: sweeps do not run on Windows yet. Train one run after the other, or use WSL.")
            if config.resume is not None:
                raise ConfigError("resume: goes on with one run, without -m.")
            name = config.sweep_name
            if name is not None and not re.fullmatch(r"\w[\w.+=,-]*", str(name)):
                raise ConfigError(
                    f"sweep_name: must be of letters, digits and . _ + = , - after a letter or digit, got {name!r}"
                )

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if job_return.status is not JobStatus.FAILED:
            return
        error = job_return._return_value  # the public property prints a line and raises
        expected = isinstance(error, MlplabError)
        if config.hydra.mode is not RunMode.MULTIRUN and expected:
            _note(str(error))
            with reported():
                raise error


def _note(text: str) -> None:
    """Into train.log alone: standard error has it anyway."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(record)
