"""The jobs of a sweep on a SLURM cluster: submitted together, waited for one by one.

submitit submits and runs them. Its own way to wait raises at the first job that died, and without accounting it never
learns that one did: it asks sacct alone.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus

from mlplab.errors import ConfigError, JobsFailedError
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder
from mlplab.sweeps.slurm import queue
from mlplab.sweeps.slurm.work import Work
from mlplab.sweeps.stop import MARK

ARRAY = ".slurm"  # in the folder of the sweep: the number of its array of jobs
EARLIER_S = 40.0  # for the jobs of a sweep that was killed: above KillWait
POLL_S = 1.0
QUEUE_S = 5.0  # between questions to SLURM, which serves many people
GRACE_S = 10.0  # between the end of a job and its result: file systems of a cluster show new files late
STOP_S = 10.0


def submitit_launcher(parameters: Mapping[str, Any]) -> Any:
    """Hydra's launcher for submitit.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import submitit  # noqa: F401
        from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"hydra/launcher=slurm: {error.name} is not installed: pip install -e '.[cluster]'"
        ) from error
    for key in ("nodes", "tasks_per_node"):
        if parameters.get(key) != 1:
            raise ConfigError(
                f"hydra.launcher.{key}: must be 1, got {parameters.get(key)}: a job of a sweep trains on one device."
            )
    return SlurmLauncher(**parameters)


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
    """What became of each job, in their order; of one that died, too.

    Raises:
        ConfigError: if the cluster does not take the jobs.
    """
    folder = Path(launcher.config.hydra.sweep.dir).absolute()
    calls = [
        (list(overrides), "hydra.sweep.dir", index, f"job_id_for_{index}", Singleton.get_state())
        for index, overrides in enumerate(job_overrides, start=initial_job_idx)
    ]
    _end_earlier(folder)
    jobs = _submitted(Work(launcher), calls, launcher.params)
    run_folder.write(folder / ARRAY, jobs[0].job_id.partition("_")[0].encode())
    try:
        returns = _outcomes(jobs, folder / MARK)
    except BaseException:  # nobody would wait for them
        queue.cancel(job.job_id for job in jobs)
        raise
    for outcome, overrides in zip(returns, job_overrides, strict=True):
        outcome.overrides = list(overrides)
    return returns


def _end_earlier(folder: Path) -> None:
    """A sweep that was killed leaves its jobs in the queue, where they would meet those that are submitted now."""
    array = (atomic_write.read(folder / ARRAY, 100) or b"").decode(errors="replace")
    if not array.isdecimal():
        return
    deadline = time.monotonic() + EARLIER_S
    queue.cancel([array])
    while time.monotonic() < deadline:
        states = queue.states() or {}
        if all(state.is_over for job, state in states.items() if job.partition("_")[0] == array):
            return
        time.sleep(POLL_S)


def _submitted(work: Work, calls: Sequence[tuple[Any, ...]], parameters: Mapping[str, Any]) -> list[Any]:
    """One array of jobs."""
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    of_every_cluster = {field.name for field in dataclasses.fields(BaseQueueConf)}
    given = {
        key if key in of_every_cluster else f"slurm_{key}": value
        for key, value in parameters.items()
        if key not in ("submitit_folder", "max_num_timeout")
    }
    try:
        executor = submitit.AutoExecutor(
            parameters["submitit_folder"], cluster="slurm", slurm_max_num_timeout=parameters["max_num_timeout"]
        )
        executor.update_parameters(**given)
        jobs: list[Any] = executor.map_array(work, *zip(*calls, strict=True))
    except (RuntimeError, ValueError, TypeError, NameError) as error:  # no SLURM here, or a parameter that it refuses
        raise ConfigError(f"hydra/launcher=slurm: {str(error).strip() or error!r}") from error
    return jobs


def _outcomes(jobs: Sequence[Any], mark: Path) -> list[JobReturn]:
    returns: dict[str, JobReturn] = {}
    ended: dict[str, float] = {}  # when a job was first seen to be over
    states: dict[str, queue.State] | None = None
    asked = stopped = float("-inf")
    while waiting := [job for job in jobs if job.job_id not in returns]:
        if stopped < 0 and mark.exists():
            stopped = time.monotonic()
            queue.cancel(job.job_id for job in waiting)
        if time.monotonic() - asked >= (QUEUE_S if stopped < 0 else POLL_S):
            asked = time.monotonic()
            states = queue.states()
        for job in waiting:
            name = job.job_id
            state = None if states is None else states.get(name, queue.UNKNOWN)
            if job.paths.result_pickle.exists():
                returns[name] = _result(job)
            elif stopped > 0 and (time.monotonic() - stopped > STOP_S or (state and state.is_over)):
                returns[name] = _failed(job, "was stopped with the sweep")
            elif state is None or not state.is_over:
                ended.pop(name, None)
            elif time.monotonic() - ended.setdefault(name, time.monotonic()) > GRACE_S:
                returns[name] = _failed(job, str(state))
        time.sleep(POLL_S)
    return [returns[job.job_id] for job in jobs]


def _result(job: Any) -> JobReturn:
    try:
        result = job.results()[0]
    except Exception as error:  # of submitit, or whatever a damaged file leads to
        return _failed(job, f"failed: {str(error).strip()}")
    assert isinstance(result, JobReturn)
    return result


def _failed(job: Any, cause: str) -> JobReturn:
    text = f"SLURM job {job.job_id} {cause}. Its log: {job.paths.stderr}"
    return JobReturn(status=JobStatus.FAILED, _return_value=JobsFailedError(text))
