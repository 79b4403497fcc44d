"""Runs a sweep: complete jobs are skipped, workers train the others, and a report compares all of them."""

import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from mlplab import startup
from mlplab.data import download
from mlplab.errors import CheckpointError, ConfigError, DataError, Interrupted, JobsFailedError, MlplabError
from mlplab.runs import folder as run_folder
from mlplab.runs import folder_lock
from mlplab.runs import result as result_file
from mlplab.runs.provenance import changed
from mlplab.sweeps import grid, slurm, stop, worker
from mlplab.sweeps.display import shown
from mlplab.sweeps.job import Job
from mlplab.sweeps.queue import Queue, opened
from mlplab.sweeps.report import Report

POLL_S = 0.1


def run(composed: DictConfig, loader: ConfigLoader, arguments: list[str]) -> None:
    """Run or resume a sweep; raises ConfigError for mistakes, Interrupted after a signal, JobsFailedError."""
    refuse(composed)
    folder = Path(composed.hydra.sweep.dir).absolute()
    jobs = grid.jobs(composed, loader, arguments)
    folder_lock.refuse_others(folder)
    remaining = [job for job in jobs if job.result() is None]
    print(_plan(folder, jobs, remaining), flush=True)  # before importing torch, which takes seconds
    for label, refusal in [(job.label, job.refusal()) for job in remaining]:
        if refusal:
            print(f"{label}: {refusal}", file=sys.stderr)
    for name, root in sorted({job.data for job in remaining}):
        download.require(name, Path(root))
    if remaining:
        with opened(folder, remaining, OmegaConf.to_yaml(composed).encode()) as to_do, shown(lambda: to_do):
            train(Queue(folder), len(to_do), worker.Recipe(loader, composed))
    conclude(folder, jobs, stop.asked(folder) if remaining else None)


def refuse(composed: DictConfig) -> None:
    """Raise ConfigError for keys that a sweep does not allow."""
    if composed.resume is not None:
        raise ConfigError("resume: takes one run; omit -m.")
    name = composed.sweep_name
    if name is not None and not re.fullmatch(r"\w[\w.+=,-]*", str(name)):
        raise ConfigError(
            "sweep_name: must begin with a letter or digit and contain only letters, digits and . _ + = , -,"
            f" got {name!r}"
        )
    if any(override.startswith("hydra.sweep.subdir=") for override in composed.hydra.overrides.hydra):
        raise ConfigError("hydra.sweep.subdir: job folders are named by their configuration; omit it.")
    jobs = composed.jobs
    if jobs != "auto" and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ConfigError(f"jobs: must be auto or a number of at least 1, got {jobs}")
    if composed.launcher.name == "slurm":
        slurm.require()


def train(queue: Queue, jobs: int, recipe: worker.Recipe) -> None:
    """Wait for the workers, and pass signals on to them."""
    with stop.signals() as came:
        are_at_work = _started(queue, jobs, recipe)
        passed_on, stopped = 0, None
        while are_at_work():
            if len(came) > passed_on:
                is_first, passed_on = not passed_on, len(came)  # counted before: another may arrive meanwhile
                stop.pass_on(queue.folder, came[passed_on - 1], is_first)
            if stop.asked(queue.folder) is not None:
                stopped = stopped or time.monotonic()
                if time.monotonic() - stopped > stop.GRACE_S + 1:
                    break
            time.sleep(POLL_S)


def _started(queue: Queue, jobs: int, recipe: worker.Recipe) -> Callable[[], bool]:
    """Start the number of workers given by `jobs`, none without a job; return a function that tells if any runs."""
    settings, wanted = recipe.composed.launcher, recipe.composed.jobs
    if settings.name == "slurm":
        return slurm.Array(queue, recipe, min(jobs, slurm.MOST if wanted == "auto" else wanted), settings).are_at_work
    devices = worker.gpus()
    most = len(devices) if len(devices) > 1 else startup.cores()
    gpus = worker.spread(devices, min(jobs, most if wanted == "auto" else wanted))
    workers = [worker.Worker(queue, recipe, gpu) for gpu in gpus]
    for one in workers:
        one.start()
    return lambda: any(one.is_alive() for one in workers)


def _plan(folder: Path, jobs: Sequence[Job], remaining: Sequence[Job]) -> str:
    complete = [job for job in jobs if job not in remaining]
    begun = [job for job in remaining if (job.folder / "checkpoints").exists()]
    counts = {"complete": len(complete), "to resume": len(begun), "to start": len(remaining) - len(begun)}
    told = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    lines = [f"{run_folder.short(folder)}: {len(jobs)} jobs, {told}"]
    damaged = [(job.label, result_file.damage(job.folder)) for job in remaining]
    lines += [
        f"{label}: result.json is damaged, and will be written again: {damage}" for label, damage in damaged if damage
    ]
    for what, some, made_with in (
        ("complete", complete, [result.versions for job in complete if (result := job.result())]),
        ("begun", begun, [status.versions[-1] for job in begun if (status := job.status()) and status.versions]),
    ):
        differences = Counter(filter(None, map(changed, made_with)))
        lines += [
            f"{count} of {len(some)} {what} jobs were made with {difference}"
            for difference, count in differences.items()
        ]
    return "\n".join(lines)


def conclude(folder: Path, jobs: Sequence[Job], stopped: stop.Stop | None) -> None:
    """Print the report, and raise the error with which the sweep ended."""
    refuse_if_stopped(stopped)
    if any(job.status() for job in jobs):
        report(folder)
    missing = len([job for job in jobs if job.result() is None])
    if missing and stopped is not None:
        complete = f"{len(jobs) - missing} of {len(jobs)} jobs are complete."
        raise Interrupted(stopped.code - 128, f"{complete} Resume with: {command(folder)}")
    if missing:
        raise JobsFailedError(f"{missing} of {len(jobs)} jobs failed. Retry them with: {command(folder)}")


def refuse_if_stopped(stopped: stop.Stop | None) -> None:
    """Raise the refusal of a job, which stopped the others."""
    if stopped is not None and stopped.reason:
        kinds = {kind.exit_code: kind for kind in (ConfigError, DataError, CheckpointError)}
        raise kinds[stopped.code](stopped.reason)


def report(folder: Path, of: Callable[[Path], Report] = Report.of) -> None:
    """Print the report, and write it unless it is current; a failure of it does not affect the runs."""
    try:
        found = of(folder)
        try:
            written = [] if _is_current(folder) else found.write()
        except MlplabError as error:
            print(error, file=sys.stderr)
            written = []
        found.show(Console(), written)
    except Exception as error:
        print(f"The report failed: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"Run it alone: python scripts/report.py {shlex.quote(run_folder.short(folder))}", file=sys.stderr)


def _is_current(folder: Path) -> bool:
    """Tell whether nothing was recorded since the report was written."""
    report = folder / "report.md"
    records = ("*.jsonl", "*/result.json", "*/paused.json", "*/status.json")
    times = [path.stat().st_mtime_ns for pattern in records for path in folder.glob(pattern)]
    return report.exists() and report.stat().st_mtime_ns > max(times, default=0)


def command(folder: Path) -> str:
    """Return the command that resumes the sweep."""
    given = sys.argv[1:]
    named = any(argument.startswith(("sweep_name=", "hydra.sweep.dir=")) for argument in given)
    return f"python train.py {shlex.join(given if named else [*given, f'sweep_name={folder.name}'])}"
