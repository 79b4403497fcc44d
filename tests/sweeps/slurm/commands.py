"""SLURM's own commands, as tests need them."""

import subprocess
import time
from collections.abc import Callable

import pytest
from waiting import PATIENCE_S


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {seconds} s for {what}\n{slurm('squeue', '--states=all')}")
        time.sleep(0.2)


def start_again_now(job: str) -> None:
    """Start a requeued job, which SLURM would let wait for two minutes."""
    state = ("squeue", "--noheader", "--format=%T", f"--jobs={job}")
    wait_until(lambda: slurm(*state) == "PENDING", f"requeue of {job}")
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
