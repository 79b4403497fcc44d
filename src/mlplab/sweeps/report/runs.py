"""All runs below a folder: the complete ones with their metrics, the others with their state."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplab.config.schema import completed
from mlplab.runs.result import Result, composed, read_pause, read_status
from mlplab.sweeps.report import settings
from mlplab.sweeps.report.settings import Setting, printable

MARKS = {"result.json", "status.json", ".hydra"}  # each is found in run folders only


class Run(Result):
    """A complete run of a report."""

    name: str  # its folder, relative to that of the report
    settings: dict[str, Any]  # as `settings.of` returns them
    written: float  # time of result.json


@dataclass(frozen=True)
class Unfinished:
    """A run without a result that can be read."""

    name: str
    status: str
    reason: str
    log: Path | None
    settings: Mapping[str, Setting]  # none if they cannot be read


def read_runs(folder: Path) -> tuple[list[Run], list[Unfinished]]:
    """Read all runs below a folder, in the order of their names."""
    found = [_read(place, printable(os.path.relpath(place, folder))) for place in sorted(_run_folders(folder))]
    return [run for run in found if isinstance(run, Run)], [run for run in found if isinstance(run, Unfinished)]


def _run_folders(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        if MARKS.isdisjoint((*folders, *files)):
            folders[:] = [name for name in folders if not name.startswith(".")]
        else:
            folders.clear()
            yield Path(place)


def _read(folder: Path, name: str) -> Run | Unfinished:
    try:
        return _complete(folder, name)
    except OSError:
        status, reason = _what_became(folder)
    except ValueError as error:
        status, reason = "damaged", f"result.json: {_first_line(str(error))}"
    try:
        found = settings.of(completed(composed(folder)))
    except ValueError:
        found = {}
    log = folder / "train.log"
    return Unfinished(name, status, reason, log if log.is_file() else None, found)


def _complete(folder: Path, name: str) -> Run:
    found = Result.load(folder)
    own = {
        "name": name,
        "settings": settings.of(completed(found.config)),
        "written": (folder / "result.json").stat().st_mtime,
        "metrics": {printable(key): value for key, value in found.metrics.items()},
        "versions": _printable(found.versions),
        "earlier_versions": [*map(_printable, found.earlier_versions)],
    }
    return Run.model_construct(**vars(found) | own)


def _what_became(folder: Path) -> tuple[str, str]:
    """Return the state of a run without a result, and the reason."""
    path = folder / "status.json"
    if not os.path.lexists(path):
        return "not started", "it has no status.json"
    said = read_status(folder)
    if said is None or said.status == "completed":
        return "damaged", "it has no result.json" if said else "status.json cannot be read"
    progress = f"in epoch {said.epoch}" if said.epoch else ""
    if said.is_killed:
        return "killed", progress or "its process no longer exists"
    if said.status == "paused":
        pause = read_pause(folder)
        return "paused", f"after {len(pause.history)} epochs" if pause else "paused.json is missing or damaged"
    if said.status == "running":
        return "running", progress or "still running"
    return said.status, _first_line(progress if said.reason is None else said.reason)


def _printable(versions: Mapping[str, Any]) -> dict[str, str]:
    return {printable(name): printable(str(version)) for name, version in versions.items()}


def _first_line(text: str) -> str:
    return printable((text.strip().splitlines() or ["no reason was recorded"])[0])
