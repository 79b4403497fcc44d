"""How the jobs of a sweep stand, as their folders tell it."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplab import run_folder, system
from mlplab.command.sweep.grid import Job
from mlplab.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """A job, and the folder that is or will be its own."""

    job: Job
    folder: Path

    def result(self) -> dict[str, Any] | None:
        """Of a job that is complete.

        Raises:
            ConfigError: if the folder holds another run.
        """
        result = run_folder.read_result(self.folder)
        if result is not None and result.get("config_hash") != self.job.config.hash:
            raise ConfigError(f"{run_folder.short(self.folder)}: holds another run. Move it away.")
        return result

    def status(self) -> dict[str, Any]:
        return run_folder.read_status(self.folder) or {}

    @property
    def is_running(self) -> bool:
        """What another machine does cannot be seen from here: it is believed what it said last."""
        status = self.status()
        return status.get("status") == "running" and (
            status.get("host") != socket.gethostname() or system.is_alive(status.get("pid", 0))
        )

    def last_sign(self) -> int:
        """When status.json was written: another number after each sign of life."""
        try:
            return (self.folder / "status.json").stat().st_mtime_ns
        except OSError:
            return 0


def places(sweep_folder: Path, jobs: Sequence[Job]) -> list[Place]:
    """A job keeps its folder in a larger grid, in which it would have a longer name: the hash tells it."""
    names = [path.name for path in sweep_folder.iterdir() if path.is_dir()] if sweep_folder.is_dir() else []
    by_hash = {name.rpartition("-")[2]: name for name in sorted(names, reverse=True)}
    return [
        Place(
            job,
            sweep_folder / (job.folder_name if job.folder_name in names else by_hash.get(job.hash, job.folder_name)),
        )
        for job in jobs
    ]


def data_of(places: Sequence[Place]) -> list[tuple[str, str]]:
    """Name and folder of each data set."""
    configs = [place.job.config.data for place in places]
    return sorted({(config.name, str(Path(config.root).expanduser().absolute())) for config in configs})
