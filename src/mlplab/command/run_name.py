"""What a run folder is called if nobody says: its time, or its job, which SLURM may start again by the same number."""

import hashlib
import os
import sys
from datetime import datetime

from omegaconf import OmegaConf


def run_name() -> str:
    """Unlike any other's; the same for a job of SLURM that was put back into the queue."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ.get("SLURM_JOB_ID"))
    if job is None or sys.stdin.isatty():  # a person in an interactive job starts run after run
        return datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    command = hashlib.sha256(repr(sys.argv[1:]).encode()).hexdigest()[:8]  # one script may hold several
    return "-".join(["slurm", job, *([task] if task else []), command])


OmegaConf.register_new_resolver("run_name", run_name, use_cache=True)
