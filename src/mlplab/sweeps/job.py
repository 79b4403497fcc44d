"""A job of a sweep, with its state as stored in its folder."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from mlplab.config.datasets import USUAL, Reading
from mlplab.errors import ConfigError
from mlplab.runs import folder as run_folder
from mlplab.runs import folder_lock
from mlplab.runs.result import Pause, Result, Status, read_pause, read_result, read_status

HASH_DIGITS = 10  # in the name of a folder
State = Literal["open", "taken", "complete", "failed"]


@dataclass(frozen=True)
class Job:
    folder: Path  # of its run, in the folder of the sweep
    overrides: tuple[str, ...]  # key=value
    label: str  # distinguishes it from the others of its grid
    hash: str  # of its configuration
    data: tuple[str, str]  # key and folder of the data set
    epochs: int
    cost: float  # estimated seconds
    earlier: int = 0  # last sign of life of an earlier attempt, whose failure does not count
    until: int | None = None  # the epoch after which a run of a search pauses; its last one for a whole run
    attempts: int = 1  # after which a failure counts
    reading: Reading = USUAL  # of own data

    def result(self) -> Result | None:
        """The result of a complete job.

        Raises:
            ConfigError: if the folder holds another run.
        """
        result = read_result(self.folder)
        if result is not None and result.config_hash != self.hash:
            raise ConfigError(f"{run_folder.short(self.folder)}: holds another run. Move it away.")
        return result

    def pause(self) -> Pause | None:
        pause = read_pause(self.folder)
        return pause if pause is not None and pause.config_hash == self.hash else None

    def status(self) -> Status | None:
        return read_status(self.folder)

    def sign_of_life(self) -> int:
        """The time of status.json, which changes with each sign of life."""
        try:
            return (self.folder / "status.json").stat().st_mtime_ns
        except OSError:
            return 0

    def refusal(self) -> str:
        """The reason why the folder cannot be used; empty if it can."""
        try:
            folder_lock.refuse_others(self.folder)
        except (ConfigError, OSError) as error:
            return str(error)
        return ""

    def state(self) -> State:
        if (self.folder / "result.json").exists() and self.result() is not None:
            return "complete"
        if self.until is not None and (pause := self.pause()) is not None and len(pause.history) >= self.until:
            return "complete"
        status = self.status()
        has_failed = status is not None and status.has_failed(self.attempts)
        return "failed" if (has_failed and self.sign_of_life() != self.earlier) or self.refusal() else "open"


_LINE = TypeAdapter(Job)


def write(path: Path, jobs: Sequence[Job]) -> None:
    """Write a line of JSON for each job.

    Raises:
        CheckpointError: if it cannot be written.
    """
    relative = (replace(job, folder=Path(os.path.relpath(job.folder, path.parent))) for job in jobs)
    run_folder.write(path, b"".join(_LINE.dump_json(job) + b"\n" for job in relative))


def read(path: Path) -> list[Job]:
    """Read the jobs; none if the file is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = map(_LINE.validate_json, lines)
    return [replace(job, folder=path.parent / job.folder) for job in found]


def folders(sweep_folder: Path, labels: Mapping[str, str]) -> dict[str, Path]:
    """Return the folder of each job, by the hash of its configuration; new folders are named after the labels.

    A job keeps its folder in a larger grid, although its name would be longer there.
    """
    names = {key: f"{label}-{key[:HASH_DIGITS]}" for key, label in labels.items()}
    found = sorted(path.name for path in sweep_folder.iterdir()) if sweep_folder.is_dir() else []
    by_hash = {name.rpartition("-")[2]: name for name in reversed(found)}
    return {
        key: sweep_folder / (name if name in found else by_hash.get(key[:HASH_DIGITS], name))
        for key, name in names.items()
    }
