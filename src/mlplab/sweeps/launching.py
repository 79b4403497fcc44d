"""The jobs of a sweep, handed to a launcher of Hydra, whichever it is, until each has had its turn."""

import sys
import time
import traceback
from collections.abc import Mapping, Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from mlplab.cli.job import FOLDER
from mlplab.errors import ConfigError, MlplabError
from mlplab.runs import folder as run_folder
from mlplab.runs.result import write_status
from mlplab.sweeps.job import Place
from mlplab.sweeps.stop import PATIENCE_S, Stopping

FRUITLESS = 3  # launches in a row; a launcher breaks when one of its processes is killed, and all its jobs with it

# What Hydra would write for each job is written in the process that runs it, where an error is that of one job.
QUIET = ("hydra.sweep.subdir=.", "hydra.output_subdir=null", "hydra.job_logging.root=null")


def launch(remaining: Sequence[Place], launcher: Launcher, stopping: Stopping) -> None:
    """Whatever becomes of a job, its folder tells it afterwards.

    Raises:
        ConfigError: if the launcher refuses its settings.
    """
    before = {place: place.last_sign() for place in remaining}
    waiting = list(remaining)
    fruitless = 0
    while waiting:
        try:
            returns = launcher.launch([_overrides(place) for place in waiting], initial_job_idx=0)
        except ConfigError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # the last, of a process that was not yet waiting for a job
            if stopping.signal is not None:
                return
            _wait_for(waiting)
            left = [place for place in waiting if place.result() is None and not _has_failed(place, before[place])]
            cause = f"the launcher broke: {type(error).__name__}: {error}".partition("\n")[0]
            print(f"T{cause[1:]}", file=sys.stderr)
            fruitless = fruitless + 1 if len(left) == len(waiting) else 0
            waiting = left
            if fruitless == FRUITLESS:
                traceback.print_exception(error)
                for place in waiting:
                    _note(place, cause)
                return
        else:
            if stopping.signal is None:
                _note_lost(waiting, returns, before)
            return


def are_running(places: Sequence[Place]) -> bool:
    return any(place.is_running for place in places)


def _overrides(place: Place) -> list[str]:
    return [*place.job.overrides, *QUIET, f"+hydra.job.env_set.{FOLDER}='{place.folder.name}'"]


def _wait_for(places: Sequence[Place]) -> None:
    """Jobs whose launcher is gone end by themselves, and save if it leaves them the time."""
    deadline = time.monotonic() + PATIENCE_S
    while are_running(places) and time.monotonic() < deadline:
        time.sleep(0.2)


def _has_failed(place: Place, before: int) -> bool:
    """Since `before`, the last sign of life of an earlier attempt."""
    status = place.status()
    return place.last_sign() != before and status is not None and status.status in ("failed", "diverged")


def _note_lost(launched: Sequence[Place], returns: Sequence[JobReturn], before: Mapping[Place, int]) -> None:
    """What only the launcher knows: that a job was lost with the machine it ran on, or never came to run."""
    for place, outcome in zip(launched, returns, strict=True):
        status = place.status()
        said_nothing = place.last_sign() == before[place] or status is None or status.status == "running"
        if outcome.status is JobStatus.FAILED and said_nothing:
            _note(place, str(outcome._return_value))


def _note(place: Place, reason: str) -> None:
    """Unless the folder is not to be had, or another process is at work in it."""
    try:
        with run_folder.locked(place.folder):
            write_status(place.folder, "failed", reason=reason)
    except MlplabError as error:
        print(f"{place.job.label}: {error}", file=sys.stderr)
