"""What torch, Lightning and the data say of a sweep: heard once, before many runs say the same.

It is heard in a process of its own, so that the one that leads the sweep needs none of the memory of torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.plugins.launcher import Launcher
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

from mlplab import system
from mlplab.cli.job import become_worker_of_sweep
from mlplab.config.schema import Config
from mlplab.errors import ConfigError, DataError, JobsFailedError
from mlplab.sweeps import processes
from mlplab.sweeps.job import Place, data_of

Data = list[tuple[str, str]]


Script = tuple[list[Config], Data]


def rehearse(places: Sequence[Place], launcher: Launcher) -> None:
    """Raises ConfigError with a line for each mistake, DataError, or JobsFailedError if nothing can be heard."""
    processes.preload(["mlplab.sweeps.preload"])
    script = (_that_differ([place.job.config for place in places]), data_of(places))
    try:
        _perform(script, len(places), launcher)
    except processes.Ended as ended:
        known = {error.exit_code: error for error in (ConfigError, DataError)}
        raise known.get(ended.code, JobsFailedError)(ended.reason) from None


def _perform(script: Script, jobs: int, launcher: Launcher) -> None:
    try:
        if isinstance(launcher, JoblibLauncher):
            _in_workers(launcher.joblib, jobs, script)
        else:
            processes.run(_hear, script, lambda: None)
    except processes.Ended as ended:
        if ended.code in (ConfigError.exit_code, DataError.exit_code):
            raise
        processes.run(_hear, script, lambda: None)  # again: a process can be killed for no fault of the script
    if not isinstance(launcher, BasicLauncher):  # which goes on in this process
        system.end_forkserver()


def _in_workers(settings: dict[str, Any], jobs: int, script: Script) -> None:
    """In one of joblib's, which are kept for the jobs; the others import meanwhile what they will need."""
    from joblib import Parallel, delayed, effective_n_jobs  # with numpy, and only if there is something to do
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    workers = min(effective_n_jobs(settings["n_jobs"]), jobs)
    parts = [script, *[([], [])] * (workers - 1)]
    try:
        Parallel(**{**settings, "backend": "loky"})(delayed(_hear_apart)(*part) for part in parts)
    except TerminatedWorkerError as error:  # the jobs will have other ones
        raise processes.Ended(1, str(error)) from error


def _hear_apart(configs: list[Config], data: Data) -> None:
    become_worker_of_sweep()
    processes.preload(["mlplab.sweeps.preload"])
    processes.run(_hear, (configs, data), lambda: None)


def _that_differ(configs: list[Config]) -> list[Config]:
    """In more than their seeds and networks."""
    alike = {config.model_copy(update={"seed": 0, "model": configs[0].model}).hash: config for config in configs}
    return list(alike.values())


def _hear(configs: list[Config], data: Data) -> None:
    from mlplab.data import datasets

    for name, root in data:
        datasets.load(name, Path(root))
