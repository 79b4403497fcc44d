"""What a folder is called if nobody says: its time, or its job, which SLURM may start again by the same number."""

import hashlib
import os
import secrets
import sys
from datetime import datetime

from omegaconf import OmegaConf


def run_name() -> str:
    """Unlike any other's; the same for a job of SLURM that was put back into the queue."""
    return _slurm_name() or datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")


def sweep_folder(given: str | None) -> str:
    """The name of a sweep, or one unlike any other's."""
    if given is not None:
        return given
    return _slurm_name() or f"{datetime.now().strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(3)}"


def _slurm_name() -> str | None:
    job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ.get("SLURM_JOB_ID"))
    if job is None or sys.stdin.isatty():  # a person in an interactive job starts run after run
        return None
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    command = hashlib.sha256(repr(sys.argv[1:]).encode()).hexdigest()[:8]  # one script may hold several
    return "-".join(["slurm", job, *([task] if task else []), command])


OmegaConf.register_new_resolver("run_name", run_name, use_cache=True)
OmegaConf.register_new_resolver("sweep_folder", sweep_folder, use_cache=True)
