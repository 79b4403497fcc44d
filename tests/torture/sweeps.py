"""Sweeps that are killed and resumed, and many that start together."""

import csv
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import runs
import states
from report import Report

GRID = ["-m", *runs.RUN, "model.dropout=0.3", "trainer.max_epochs=40", "model.hidden=16,[32,16]", "seed=0,1"]
JOBS = 4
AT_ONCE = (1, 2)


def killed_at_random_times(folder: Path, dice: random.Random, report: Report, kills: int = 5) -> None:
    """Kill any of its processes, again and again, until the sweep is complete."""
    for at_once in AT_ONCE:
        whole = folder / f"whole-{at_once}"
        started = time.monotonic()
        assert runs.finished(folder, *_grid(whole, at_once))[0] == 0, "the sweep that nobody stops failed"
        seconds = time.monotonic() - started
        for number in range(2):
            sweep = folder / f"{at_once}-{number}"
            found: list[str] = []
            for _ in range(kills):
                complete = _results(sweep)
                with runs.start(folder, *_grid(sweep, at_once)) as process:
                    time.sleep(dice.uniform(0.3, 0.9) * seconds)
                    victim = dice.choice([process.pid, *descendants(process.pid)])
                    was_there = kill(victim)
                    code, printed = runs.finish(process)
                wait_until_over(sweep)
                after = _results(sweep)
                if was_there and victim != process.pid and (code not in (0, 6) or len(after) < JOBS - 1):
                    found.append(f"one process was killed, ended with {code}, {len(after)} complete: {printed[-300:]}")
                found += [f"{name} was trained again" for name in complete if after.get(name) != complete[name]]
            found += runs.problems(*runs.finished(folder, *_grid(sweep, at_once)))
            found += [] if _table(sweep) == _table(whole) else ["another table"]
            for job in whole.glob("*/result.json"):
                found += states.problems(sweep / job.parent.name, job.parent)
            report.add(f"five kills of a sweep's processes, {at_once} at once", found)


def started_together(folder: Path, dice: random.Random, report: Report, count: int = 20) -> None:
    """Start sweeps in the same second, without names; one job at a time each, because 40 jobs need over 24 GB."""
    grid = ["-m", "data=digits", "trainer.max_epochs=1", "seed=0,1", "jobs=1"]
    outcomes = runs.together(folder, [grid] * count)
    sweeps = list((folder / "outputs" / "sweeps").iterdir())
    for ended in outcomes:
        report.add("sweeps started in one second", runs.problems(*ended))
    complete = [sweep for sweep in sweeps if len(list(sweep.glob("*/result.json"))) == 2]
    report.add(
        "a folder for each sweep", [] if len(complete) == len(sweeps) == count else [f"{len(complete)} of {count}"]
    )


def _grid(sweep: Path, at_once: int) -> list[str]:
    return [*GRID, f"hydra.sweep.dir={sweep}", f"jobs={at_once}"]


def _results(sweep: Path) -> dict[str, int]:
    """Return the time at which each complete job's result was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in sweep.glob("*/result.json")}


def _table(sweep: Path) -> list[dict[str, Any]]:
    with (sweep / "report.csv").open() as file:
        return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in csv.DictReader(file)]


def descendants(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = children.get(pid, [])
    return [*found, *(pid for child in found for pid in descendants(child))]


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until_over(sweep: Path) -> None:
    """Wait for jobs, which outlive a killed process until they have saved."""
    deadline = time.monotonic() + 15
    pids = [json.loads(path.read_text())["pid"] for path in sweep.glob("*/status.json")]
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "jobs are left"
        time.sleep(0.1)
