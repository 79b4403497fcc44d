"""All runs below a folder: the complete ones with their figures, the others with what became of them."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplab.config.schema import completed
from mlplab.runs.result import Result, composed, read_status
from mlplab.sweeps.report.settings import Setting, flatten, printable

MARKS = {"result.json", "status.json", ".hydra"}  # each is found in run folders only


@dataclass(frozen=True)
class Run:
    """A complete run; what it holds is checked."""

    name: str  # its folder, from the folder of the report
    settings: Mapping[str, Setting]
    seed: int
    metrics: Mapping[str, float]  # of the best weights; an accuracy is a fraction of 1
    history: tuple[Mapping[str, float], ...]  # a mapping an epoch
    best_epoch: int
    fit_s: float
    total_s: float
    images_per_s: float
    versions: Mapping[str, str]
    earlier_versions: tuple[Mapping[str, str], ...]  # of processes that began it, where they had others
    written: float  # time of result.json

    @property
    def val_acc(self) -> float | None:
        return self.metrics.get("val/acc")


@dataclass(frozen=True)
class Unfinished:
    """A run without a result that can be read."""

    name: str
    status: str
    reason: str
    log: Path | None
    settings: Mapping[str, Setting]  # none where they cannot be read


def read_runs(folder: Path) -> tuple[list[Run], list[Unfinished]]:
    """In the order of their names."""
    complete, unfinished = [], []
    for place in sorted(_run_folders(folder)):
        run = _read(place, printable(os.path.relpath(place, folder)))
        if isinstance(run, Run):
            complete.append(run)
        else:
            unfinished.append(run)
    return complete, unfinished


def _run_folders(folder: Path) -> Iterator[Path]:
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                inside = list(entries)
        except OSError:  # not ours to read, or gone meanwhile
            continue
        if any(entry.name in MARKS for entry in inside):
            yield place
        else:
            waiting += [
                Path(entry.path)
                for entry in inside
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            ]


def _read(folder: Path, name: str) -> Run | Unfinished:
    if not os.path.lexists(folder / "result.json"):
        status, reason = _what_became(folder)
        return _unfinished(folder, name, status, reason)
    try:
        return _complete(folder, name)
    except ValueError as error:
        return _unfinished(folder, name, "damaged", f"result.json: {_first_line(str(error))}")


def _unfinished(folder: Path, name: str, status: str, reason: str) -> Unfinished:
    log = folder / "train.log"
    try:
        settings = flatten(completed(composed(folder)))
    except ValueError:
        settings = {}
    return Unfinished(name, status, reason, log if log.is_file() else None, settings)


def _complete(folder: Path, name: str) -> Run:
    found = Result.load(folder)
    return Run(
        name=name,
        settings=flatten(completed(found.config)),
        seed=found.seed,
        metrics={printable(key): value for key, value in found.metrics.items()},
        history=tuple(found.history),
        best_epoch=found.best_epoch,
        fit_s=found.fit_s,
        total_s=found.total_s,
        images_per_s=found.images_per_s,
        versions=_printable(found.versions),
        earlier_versions=tuple(map(_printable, found.earlier_versions)),
        written=(folder / "result.json").stat().st_mtime,
    )


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
        return "killed", progress or "its process is gone"
    if said.status == "running":
        return "running", progress or "it goes on"
    return said.status, _first_line(progress if said.reason is None else said.reason)


def _printable(versions: Mapping[str, Any]) -> dict[str, str]:
    return {printable(name): printable(str(version)) for name, version in versions.items()}


def _first_line(text: str) -> str:
    return printable((text.strip().splitlines() or ["no reason was noted"])[0])
