"""What submitit runs in a job of SLURM. A job that goes back into the queue has to leave no result."""

import os
import signal
import sys
from typing import Any

from mlplab.cli.job import LEADER
from mlplab.sweeps import processes
from mlplab.sweeps.slurm import queue

SAVE_S = 25.0  # below KillWait, after which SLURM kills: 30 s unless a cluster says otherwise


class Work:
    """A job of Hydra that can be interrupted and put back into the queue.

    SLURM signals every process of a job: the one that trains saves and ends by itself, and is waited for here.
    """

    def __init__(self, launcher: Any) -> None:
        self.launcher = launcher  # hydra-submitit-launcher's, which knows how to run a job of Hydra

    def __call__(self, *arguments: Any) -> Any:
        os.environ.pop(LEADER, None)  # this job outlives the process that submitted it
        signal.signal(signal.SIGTERM, _terminated)  # submitit would only note it, and be killed after KillWait
        return self.launcher(*arguments)

    def checkpoint(self, *arguments: Any) -> Any:
        """Called by submitit some time before the limit; what it gets runs when the job is started again."""
        import submitit

        processes.stop(SAVE_S)
        return submitit.helpers.DelayedSubmission(self, *arguments)


def _terminated(number: int, frame: object) -> None:
    """The job is cancelled or back in the queue already, or, if it counts as running, is asked to make room."""
    import submitit

    processes.stop(SAVE_S)
    environment = submitit.JobEnvironment()
    state = (queue.states() or {}).get(environment.job_id)
    if state == queue.State("RUNNING"):
        signal.raise_signal(signal.Signals[f"SIG{environment.USR_SIG}"])  # submitit puts it back, and ends
    sys.exit(128 + number)
