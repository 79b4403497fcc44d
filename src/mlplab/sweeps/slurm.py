"""Workers of a sweep on a SLURM cluster: an array of SLURM jobs, each of which takes jobs from the sweep's folder.

submitit submits and starts them, and requeues those that reach their time limit.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlplab.errors import ConfigError
from mlplab.runs import folder as run_folder
from mlplab.runs.result import write_status
from mlplab.sweeps import stop
from mlplab.sweeps.queue import CLAIMS, Queue
from mlplab.sweeps.worker import Recipe, Worker

LOGS = ".slurm"  # in the folder of the sweep, with submitit's files for the workers
MOST = 16  # workers, with jobs=auto
SAVE_S = 25.0  # below KillWait, after which SLURM kills: 30 s by default
TIMEOUTS = 100  # how often a worker that reaches its limit is requeued
LOOK_S = 1.0
IDLE_S = 10.0  # seconds without a running worker before SLURM is asked whether there is any
LOST_S = 150.0  # the same, before workers unknown to SLURM are given up: requeued ones wait for two minutes


def require() -> None:
    """Raises ConfigError if submitit is not installed."""
    if find_spec("submitit") is None:
        raise ConfigError("launcher=slurm: submitit is not installed: pip install -e '.[cluster]'")


class Work:
    """The callable that submitit runs on a node: one worker, which SLURM may stop at any time.

    SLURM sends SIGTERM when it cancels or pre-empts the worker: the job saves, and another worker resumes it.
    """

    def __init__(self, queue: Queue, recipe: Recipe) -> None:
        self.queue = queue
        self.recipe = recipe

    def __call__(self) -> None:
        _queued(self.queue.folder, _own_id()).unlink(missing_ok=True)
        self.worker = Worker(self.queue, self.recipe)
        signal.signal(signal.SIGTERM, self._terminated)
        self.worker.start()
        self.worker.join()

    def checkpoint(self) -> Any:
        """Save before the time limit; submitit requeues the returned worker."""
        import submitit

        self._save()
        _queued(self.queue.folder, _own_id()).touch()
        return submitit.helpers.DelayedSubmission(Work(self.queue, self.recipe))

    def _terminated(self, number: int, frame: object) -> None:
        self._save()
        sys.exit(128 + number)

    def _save(self) -> None:
        self.worker.leave_within = SAVE_S
        self.worker.join(SAVE_S + 1)


class Array:
    """The workers of a sweep, for the process that leads it; `settings` is `launcher` of the configuration.

    Raises:
        ConfigError: if the cluster rejects them.
    """

    def __init__(self, queue: Queue, recipe: Recipe, count: int, settings: Mapping[str, Any]) -> None:
        import submitit

        logging.getLogger("submitit").setLevel(logging.ERROR)  # it warns on a cluster without accounting
        self.queue = queue
        self._seen = time.monotonic()
        self._cancelled = False
        try:
            logs = queue.folder / LOGS / "%j"
            executor = submitit.AutoExecutor(logs, cluster="slurm", slurm_max_num_timeout=TIMEOUTS)
            executor.update_parameters(**_parameters(settings, count))
            with executor.batch():
                self.workers = [executor.submit(Work(queue, recipe)) for _ in range(count)]
        except (RuntimeError, ValueError, TypeError, NameError) as error:  # no SLURM, or a rejected value
            raise ConfigError(f"launcher=slurm: {str(error).strip() or error!r}") from error

    def are_at_work(self) -> bool:
        time.sleep(LOOK_S)
        if stop.asked(self.queue.folder) is not None:
            self._cancel()
            return self.queue.is_taken()
        if self.queue.is_over():
            self._cancel()
            return False
        if self._are_gone():
            self._cancel()
            self._note_lost()
            return False
        return True

    def _are_gone(self) -> bool:
        """Ask submitit once no worker is running; unknown workers count as gone if they had started and stay away."""
        if self.queue.is_taken():
            self._seen = time.monotonic()
        idle_s = time.monotonic() - self._seen
        if idle_s < IDLE_S:
            return False
        left = [worker for worker in self.workers if not worker.done()]
        is_lost = (worker.state == "UNKNOWN" and self._has_begun(worker) for worker in left)
        return not left or (idle_s > LOST_S and all(is_lost))

    def _has_begun(self, worker: Any) -> bool:
        return worker.paths.stderr.exists() and not _queued(self.queue.folder, worker.job_id).exists()

    def _cancel(self) -> None:
        for worker in [] if self._cancelled else self.workers:
            if not worker.paths.result_pickle.exists():
                worker.cancel(check=False)
        self._cancelled = True

    def _note_lost(self) -> None:
        logs = run_folder.short(self.queue.folder / LOGS)
        print(f"All workers on the cluster have ended. Logs: {logs}", file=sys.stderr)
        for job in self.queue.left():
            status = job.status()
            if status is not None and status.status != "paused" and job.sign_of_life() != job.earlier:
                write_status(job.folder, "failed", reason=f"lost with its worker on the cluster ({logs})")


def _parameters(settings: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {
        "name": "mlplab",
        "timeout_min": settings["time"],
        "mem_gb": settings["memory"],
        "cpus_per_task": settings["cpus"],
        "gpus_per_node": settings["gpus"],
        "slurm_partition": settings["partition"],
        "slurm_array_parallelism": count,
        "slurm_signal_delay_s": settings["signal"],
        # After the loss of a node or a pre-emption a worker is requeued, even with JobRequeue=0.
        "slurm_additional_parameters": {"requeue": True, **settings["sbatch"]},
    }


def _queued(folder: Path, worker: str) -> Path:
    """Return the marker file of a worker that has requeued itself."""
    return folder / CLAIMS / f"{worker}.queued"


def _own_id() -> str:
    """Return the ID of this job in submitit's form: 7, or 7_0 in an array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
