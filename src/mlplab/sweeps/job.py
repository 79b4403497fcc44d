"""How the jobs of a sweep stand, as their folders tell it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlplab.cli.resume import recorded
from mlplab.errors import ConfigError, MlplabError
from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result, Status, read_result, read_status
from mlplab.sweeps.grid import HASH_DIGITS, Job


@dataclass(frozen=True)
class Place:
    """A job, and the folder that is or will be its own."""

    job: Job
    folder: Path

    def result(self) -> Result | None:
        """Of a job that is complete.

        Raises:
            ConfigError: if the folder holds another run.
        """
        result = read_result(self.folder)
        wanted = self.job.config.hash
        if result is not None and result.config_hash != wanted and recorded_hash(self.folder) != wanted:
            raise ConfigError(f"{run_folder.short(self.folder)}: holds another run. Move it away.")
        return result

    def status(self) -> Status | None:
        return read_status(self.folder)

    @property
    def is_running(self) -> bool:
        """Whether it says so, and is not known to be dead."""
        status = self.status()
        return status is not None and status.status == "running" and not status.is_killed

    def last_sign(self) -> int:
        """When status.json was written: another number after each sign of life."""
        try:
            return (self.folder / "status.json").stat().st_mtime_ns
        except OSError:
            return 0


def places(sweep_folder: Path, jobs: Sequence[Job]) -> list[Place]:
    """A job keeps its folder in a larger grid, in which it would have a longer name: the hash tells it.

    Other versions had other hashes: of folders without a job, the configuration that is recorded there tells it.
    """
    names = [path.name for path in sweep_folder.iterdir() if path.is_dir()] if sweep_folder.is_dir() else []
    by_hash = {name.rpartition("-")[2]: name for name in sorted(names, reverse=True)}
    hashes = {job.hash for job in jobs}
    if hashes - by_hash.keys():
        for name in (name for key, name in by_hash.copy().items() if key not in hashes):
            by_hash.setdefault(str(recorded_hash(sweep_folder / name))[:HASH_DIGITS], name)
    return [
        Place(
            job,
            sweep_folder / (job.folder_name if job.folder_name in names else by_hash.get(job.hash, job.folder_name)),
        )
        for job in jobs
    ]


def unreadable(sweep_folder: Path, places: Sequence[Place]) -> list[str]:
    """Why a folder is of no job of this version: a line for each that holds a result."""
    lines = []
    for result in sorted(sweep_folder.glob("*/result.json")):
        if result.parent not in {place.folder for place in places}:
            try:
                recorded(result.parent)
            except MlplabError as error:
                lines.append(str(error).splitlines()[0])
    return lines


def recorded_hash(folder: Path) -> str | None:
    """Of the configuration that a job was begun with, as this version computes it; None if it cannot be read."""
    try:
        return _hash_of(folder, (folder / ".hydra" / "config.yaml").stat().st_mtime_ns)
    except (MlplabError, OSError):
        return None


@cache
def _hash_of(folder: Path, written: int) -> str:
    """To read a configuration takes 30 ms, and a sweep asks for it again and again."""
    return recorded(folder).hash


def data_of(places: Sequence[Place]) -> list[tuple[str, str]]:
    """Name and folder of each data set."""
    configs = [place.job.config.data for place in places]
    return sorted({(config.name, str(Path(config.root).expanduser().absolute())) for config in configs})
