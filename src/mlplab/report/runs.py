"""All runs below a folder: the complete ones with their figures, the others with what became of them."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mlplab import run_folder, system
from mlplab.report.settings import Setting, flatten, printable

MARKS = {"result.json", "status.json", ".hydra"}  # each is found in run folders only
LARGEST = 3.5e38  # what a loss of 32 bits can be; sums of such numbers are finite still
UNREADABLE = (ValueError, OverflowError, RecursionError, yaml.YAMLError)


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
    except OSError as error:
        reason = f"{Path(str(error.filename)).name}: {error.strerror}"
    except UNREADABLE as error:
        reason = f"result.json: {_first_line(str(error))}"
    return _unfinished(folder, name, "damaged", reason)


def _unfinished(folder: Path, name: str, status: str, reason: str) -> Unfinished:
    log = folder / "train.log"
    try:
        settings = flatten(_composed(folder))
    except (OSError, *UNREADABLE):
        settings = {}
    return Unfinished(name, status, reason, log if log.is_file() else None, settings)


def _complete(folder: Path, name: str) -> Run:
    path = folder / "result.json"
    result = _dict("it", json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse))
    metrics = {printable(key): _number(key, value) for key, value in _dict("metrics", result.get("metrics")).items()}
    for key in {"test/acc", *metrics} & {"test/acc", "val/acc"}:
        if not 0 <= metrics.get(key, -1) <= 1:
            raise ValueError(f"{key} is missing or not in 0..1")
    config = result["config"] if "config" in result else _composed(folder)  # that of older runs is not in it
    return Run(
        name=name,
        settings=flatten(_dict("config", config)),
        seed=_whole("seed", result.get("seed")),
        metrics=metrics,
        history=tuple(
            {key: _number(f"history: {key}", value) for key, value in _dict("history", epoch).items()}
            for epoch in _list("history", result.get("history"))
        ),
        best_epoch=_whole("best_epoch", result.get("best_epoch")),
        fit_s=_positive("fit_s", result.get("fit_s")),
        total_s=_positive("total_s", result.get("total_s")),
        images_per_s=_positive("images_per_s", result.get("images_per_s")),
        versions=_versions(result.get("versions")),
        earlier_versions=tuple(map(_versions, _list("earlier_versions", result.get("earlier_versions", [])))),
        written=path.stat().st_mtime,
    )


def _what_became(folder: Path) -> tuple[str, str]:
    """How a run without result stands, and why."""
    path = folder / "status.json"
    if not os.path.lexists(path):
        return "not started", "it has no status.json"
    said = run_folder.read_status(folder) or {}
    status = said.get("status")
    if status not in ("running", "interrupted", "diverged", "failed"):
        found = "it has no result.json" if status == "completed" else "status.json cannot be read"
        return "damaged", found
    epoch, reason = said.get("epoch"), said.get("reason")
    progress = f"in epoch {epoch}" if isinstance(epoch, int) else ""
    if status == "running":
        killed = _is_dead(said)
        return "killed" if killed else status, progress or ("its process is gone" if killed else "it goes on")
    return status, _first_line(reason if isinstance(reason, str) else progress)


def _is_dead(status: Mapping[str, Any]) -> bool:
    pid = status.get("pid", 0)
    return status.get("host") == socket.gethostname() and 0 < pid < 2**31 and not system.is_alive(pid)


def _composed(folder: Path) -> dict[Any, Any]:
    """What Hydra composed; values may refer to others."""
    with (folder / ".hydra" / "config.yaml").open(encoding="utf-8") as file:
        return _dict(".hydra/config.yaml", yaml.load(file, yaml.CSafeLoader))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a figure")


def _dict(key: str, value: object) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} is missing or not a mapping")
    return value


def _list(key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{key} is missing or not a list")
    return value


def _versions(value: object) -> dict[str, str]:
    return {printable(name): printable(str(version)) for name, version in _dict("versions", value).items()}


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError(f"{key} is missing or not a sensible number")
    return value


def _positive(key: str, value: object) -> float:
    if (number := _number(key, value)) < 0:
        raise ValueError(f"{key} is negative")
    return number


def _whole(key: str, value: object) -> int:
    if (number := _number(key, value)) != int(number):
        raise ValueError(f"{key} is not a whole number")
    return int(number)


def _first_line(text: str) -> str:
    return printable((text.strip().splitlines() or ["no reason was noted"])[0])
