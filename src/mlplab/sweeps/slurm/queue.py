"""What SLURM says of this user's jobs. squeue knows ended ones for some minutes; sacct is not on every cluster."""

import os
import re
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

ANSWER_S = 60

# https://slurm.schedmd.com/squeue.html#lang-en, JOB STATE CODES. All others may run, or run again.
OVER = {
    "BOOT_FAIL": "was lost when its node did not start",
    "CANCELLED": "was cancelled",
    "COMPLETED": "ended without a result",
    "DEADLINE": "could not end before its deadline",
    "FAILED": "failed",
    "NODE_FAIL": "was lost with its node",
    "OUT_OF_MEMORY": "ran out of memory (hydra.launcher.mem_gb)",
    "PREEMPTED": "had to make room for another job",
    "REVOKED": "was revoked",
    "TIMEOUT": "ran out of time (hydra.launcher.timeout_min)",
}


@dataclass(frozen=True)
class State:
    name: str
    status: int = 0  # as wait() gives it, of the script that ran the job

    @property
    def is_over(self) -> bool:
        return self.name in OVER or self == UNKNOWN

    def __str__(self) -> str:
        code = os.waitstatus_to_exitcode(self.status)
        if self.name != "FAILED" or not code:
            return OVER.get(self.name, "is not known to SLURM any more")
        killed_by = code - 128 if code > 0 else -code  # the shell adds 128 for a program that was killed
        names = {int(number): number.name for number in signal.Signals}
        return f"was killed by {names[killed_by]}" if killed_by in names else f"ended with exit code {code}"


UNKNOWN = State("unknown")


def states() -> dict[str, State] | None:
    """By job id, `7` or `7_0`; None if SLURM does not answer."""
    command = ["squeue", "--me", "--states=all", "--array", "--noheader", "--Format=JobArrayID:|,State:|,exit_code:|"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    lines = re.findall(r"^ *(\S+) *\| *(\S+) *\| *(\d+) *\|", answer.stdout, re.MULTILINE)
    return {job: State(name, int(status)) for job, name, status in lines}


def cancel(jobs: Iterable[str]) -> None:
    """Those that wait are gone at once; those that run get SIGTERM, and SIGKILL after the cluster's KillWait."""
    arrays = sorted({job.partition("_")[0] for job in jobs})
    with suppress(OSError, subprocess.TimeoutExpired):  # what is not cancelled now will be at its limit
        subprocess.run(["scancel", *arrays], capture_output=True, timeout=ANSWER_S)
