"""A sweep from its grid to its answer: what is complete is skipped, the rest is launched, and all of it is compared."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from mlplab.cli.job import announce_sweep
from mlplab.data import download
from mlplab.errors import ConfigError, Interrupted, JobsFailedError, MlplabError
from mlplab.runs import folder as run_folder
from mlplab.runs import result as result_file
from mlplab.runs.provenance import changed
from mlplab.sweeps import grid
from mlplab.sweeps.display import shown
from mlplab.sweeps.job import Place, data_of, places, unreadable
from mlplab.sweeps.launching import are_running, launch
from mlplab.sweeps.rehearsal import rehearse
from mlplab.sweeps.report import Report
from mlplab.sweeps.stop import Stopping


def run(
    composed: DictConfig, loader: ConfigLoader, arguments: list[str], make_launcher: Callable[[], Launcher]
) -> None:
    """Raises what is wrong with the grid, Interrupted after a signal, JobsFailedError after failures."""
    folder = Path(composed.hydra.sweep.dir).absolute()
    jobs = grid.jobs(composed, loader, arguments)
    _refuse(composed, jobs)
    run_folder.refuse_others(folder)
    everything = places(folder, jobs)
    remaining = [place for place in everything if place.result() is None]
    print(_plan(folder, everything, remaining), flush=True)  # before it takes seconds to import torch
    for name, root in data_of(remaining):
        download.require(name, Path(root))
    if remaining:
        launcher = make_launcher()
        announce_sweep(data_of(remaining))
        rehearse(remaining, launcher)
    with run_folder.locked(folder):
        everything = places(folder, jobs)  # as they are now that nobody else is at work
        remaining = [place for place in everything if place.result() is None]
        run_folder.write(folder / "multirun.yaml", OmegaConf.to_yaml(composed).encode())
        stopping = Stopping(folder, lambda: are_running(remaining))
        if remaining:
            with shown(remaining), stopping.noticed():
                launch(remaining, launcher, stopping)
        _conclude(folder, everything, stopping)


def _refuse(composed: DictConfig, jobs: Sequence[grid.Job]) -> None:
    given = [override.partition("=")[0] for override in composed.hydra.overrides.hydra]
    if "hydra.sweep.subdir" in given:
        raise ConfigError("hydra.sweep.subdir: the folder of a job is named by its configuration; leave it out.")
    if any(job.config.trainer.devices not in (1, "1") for job in jobs):
        raise ConfigError(
            "trainer.devices: the jobs of a sweep are spread over all devices that there are; leave it out."
        )


def _plan(folder: Path, everything: Sequence[Place], remaining: Sequence[Place]) -> str:
    complete = [place for place in everything if place not in remaining]
    begun = [place for place in remaining if (place.folder / "checkpoints").exists()]
    counts = {"complete": len(complete), "to go on": len(begun), "to begin": len(remaining) - len(begun)}
    lines = [
        f"{run_folder.short(folder)}: {len(everything)} jobs, "
        + ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    ]
    damaged = [(place.job.label, result_file.damage(place.folder)) for place in remaining]
    lines += [f"{label}: result.json is damaged, and made again: {damage}" for label, damage in damaged if damage]
    for what, some, made_with in (
        ("complete", complete, [result.versions for place in complete if (result := place.result())]),
        ("begun", begun, [status.versions[-1] for place in begun if (status := place.status()) and status.versions]),
    ):
        differences = Counter(filter(None, map(changed, made_with)))
        lines += [
            f"{count} of {len(some)} {what} jobs were made with {difference}"
            for difference, count in differences.items()
        ]
    if len(begun) + len(complete) < len(everything) and (refused := unreadable(folder, everything)):
        more = f" ({len(refused) - 1} more)" if len(refused) > 1 else ""
        lines.append(f"Not counted, and trained anew if it is of this grid: {refused[0]}{more}")
    return "\n".join(lines)


def _conclude(folder: Path, everything: Sequence[Place], stopping: Stopping) -> None:
    """The answer, and how it ends."""
    if any(place.status() for place in everything):
        _report(folder)
    missing = len([place for place in everything if place.result() is None])
    way_on = f"python train.py {shlex.join(_arguments(folder))}"
    if missing and stopping.signal is not None:
        complete = f"{len(everything) - missing} of {len(everything)} jobs are complete."
        raise Interrupted(stopping.signal, f"{complete} Resume with: {way_on}")
    if missing:
        raise JobsFailedError(f"{missing} of {len(everything)} jobs failed. Try them again with: {way_on}")


def _report(folder: Path) -> None:
    """What goes wrong here takes nothing away from the runs."""
    try:
        report = Report.of(folder)
        try:
            written = report.write()
        except MlplabError as error:
            print(error, file=sys.stderr)
            written = []
        report.show(Console(), written)
    except Exception as error:
        print(f"The report failed: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"Try it alone: python scripts/report.py {shlex.quote(run_folder.short(folder))}", file=sys.stderr)


def _arguments(folder: Path) -> list[str]:
    given = sys.argv[1:]
    named = any(argument.startswith(("sweep_name=", "hydra.sweep.dir=")) for argument in given)
    return given if named else [*given, f"sweep_name={folder.name}"]
