"""Records of a search: search.json has its settings, and draws.jsonl a line for each draw before it is trained.

Results are stored in the run folders only.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder
from mlplab.runs.result import read_pause, read_result, read_status
from mlplab.search.halving import Draw, Figure, Outcome

SEARCH, DRAWS, FINALISTS = "search.json", "draws.jsonl", "finalists.jsonl"
ATTEMPTS = 2  # attempts at a run, before it counts as the worst
LARGEST = 2**28  # bytes of a file
FREE = ("budget", "minutes", "finalists", "keep")  # settings that may change when a search is resumed


@dataclass(frozen=True)
class Drawn:
    """A draw, with everything needed to train it without composing it again."""

    number: int
    wave: int
    of: int  # draws of this wave
    pool: str
    values: Mapping[str, str]  # of the space; none for the configuration that the search began with
    overrides: Sequence[str]  # the overrides of a command that trains it
    label: str
    hash: str
    folder: str  # of its run, relative to that of the search
    cost: float  # a guess of the seconds of the whole run

    @property
    def draw(self) -> Draw:
        return Draw(self.number, self.wave, self.pool)


@dataclass(frozen=True)
class Final:
    """Record of a finalist's run with a new seed."""

    draw: int
    seed: int
    chooses: bool  # selects among the finalists; the other runs are the quoted ones
    label: str
    hash: str
    folder: str


Record = TypeVar("Record", Drawn, Final)


def begun(folder: Path, asked: Mapping[str, Any]) -> bool:
    """Tell whether the same search was begun in a folder, with the same budget or a smaller one.

    Raises:
        ConfigError: if the folder holds another search.
        CheckpointError: if its record is damaged.
    """
    before = read(folder)
    if before is None:
        return False
    different = [key for key in asked if _fixed(key, asked[key]) != _fixed(key, before.get(key))]
    if different == ["files"]:
        raise ConfigError(
            f"{run_folder.short(folder)}: the files of the data set have changed since the search began,\n"
            "so its draws would be compared on different images. Choose another sweep_name."
        )
    if different:
        found, wanted = (_fixed(different[0], one.get(different[0])) for one in (before, asked))
        raise ConfigError(
            f"{run_folder.short(folder)}: holds another search, whose {different[0]} is {found},\n"
            f"and not {wanted}.\nChoose another sweep_name."
        )
    for key in ("budget", "minutes"):
        had, now = (one["settings"][key] for one in (before, asked))
        if had is not None and now is not None and now < had:
            raise ConfigError(f"search.{key}: can only be raised, from {had:g}; got {now:g}")
    return True


def is_same(folder: Path, asked: Mapping[str, Any]) -> bool:
    """Tell whether a search was begun with these very settings, so that another process may join it."""
    before = read(folder) or {}
    return all(before.get(key) == asked[key] for key in asked)


def restart_clock(folder: Path) -> None:
    """Exclude the time since the last process ended from search.minutes; raises CheckpointError."""
    _write(folder, {**(read(folder) or {}), "since": time.time()})


def begin(folder: Path, asked: Mapping[str, Any]) -> None:
    """Write search.json, and continue the clock of a search that was begun before.

    Raises:
        CheckpointError: if it cannot be written.
    """
    before = read(folder) or {}
    _write(folder, {**asked, "used_s": before.get("used_s", 0.0), "since": time.time()})


def is_time_over(folder: Path, minutes: float) -> bool:
    """Tell whether a search has used its minutes; time in which no process led it does not count."""
    asked, now = read(folder) or {}, time.time()
    used_s = asked.get("used_s", 0.0) + max(0.0, now - asked.get("since", now))
    _write(folder, {**asked, "used_s": used_s, "since": now})
    return bool(used_s >= 60 * minutes)


def _write(folder: Path, asked: Mapping[str, Any]) -> None:
    run_folder.write(folder / SEARCH, (json.dumps(asked, indent=2) + "\n").encode())


def _fixed(key: str, value: Any) -> Any:
    if key == "settings" and isinstance(value, dict):
        return {name: setting for name, setting in value.items() if name not in FREE}
    return value


def read(folder: Path) -> dict[str, Any] | None:
    """Read search.json; None if there is none.

    Raises:
        CheckpointError: if it is damaged.
    """
    content = atomic_write.read(folder / SEARCH, LARGEST)
    if content is None:
        return None
    try:
        asked = json.loads(content)
        assert isinstance(asked["settings"]["budget"], int | float)
        assert all(isinstance(rung, int) for rung in asked["rungs"])
        assert all(isinstance(key, str) for key in asked["log_scales"])
        asked["settings"]["minutes"], asked["monitor"]
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise CheckpointError(f"{folder / SEARCH}: damaged. Choose another sweep_name.") from error
    return dict(asked)


def draws(folder: Path) -> list[Drawn]:
    """Read every draw of complete waves; an incomplete wave is drawn again, with the same values.

    Raises:
        CheckpointError: if a line is damaged.
    """
    found = _records(folder / DRAWS, Drawn)
    if [one.number for one in found] != list(range(len(found))):
        raise CheckpointError(f"{folder / DRAWS}: damaged. Choose another sweep_name.")
    last = [one for one in found if one.wave == found[-1].wave]
    return found if not last or len(last) == last[0].of else found[: -len(last)]


def finalists(folder: Path) -> list[Final]:
    """Read the runs of finalists; raises CheckpointError if a line is damaged."""
    return _records(folder / FINALISTS, Final)


def add(folder: Path, drawn: Sequence[Drawn]) -> None:
    """Append the draws of a wave, each written to disk before the next.

    Raises:
        CheckpointError: if they cannot be written.
    """
    _append(folder / DRAWS, draws(folder), drawn)


def add_finalists(folder: Path, runs: Sequence[Final]) -> None:
    """Append runs of finalists; raises CheckpointError if that fails."""
    _append(folder / FINALISTS, finalists(folder), runs)


def outcome(folder: Path, drawn: Drawn | Final, monitor: str = "val/loss") -> Outcome:
    """Read the progress of a draw's run, whose epochs are compared by `monitor`.

    Raises:
        ConfigError: if its folder holds another run.
    """
    place = place_of(folder, drawn)
    result = read_result(place)
    if result is not None and result.config_hash != drawn.hash:
        raise ConfigError(f"{run_folder.short(place)}: holds another run. Move it away.")
    if result is not None:
        return _outcome(result.history, monitor, has_ended=True)
    pause, status = read_pause(place), read_status(place)
    history = pause.history if pause is not None and pause.config_hash == drawn.hash else ()
    return _outcome(history, monitor, has_failed=status is not None and status.has_failed(ATTEMPTS))


def place_of(folder: Path, drawn: Drawn | Final) -> Path:
    """The folder of a run; a folder of another sweep is used only while its result is there."""
    place = folder / drawn.folder
    is_own = place.parent == folder
    return place if is_own or read_result(place) is not None else folder / place.name


def _outcome(
    history: Sequence[Mapping[str, float]], monitor: str, has_ended: bool = False, has_failed: bool = False
) -> Outcome:
    validated = [epoch for epoch in history if "val/acc" in epoch]
    figures = [Figure.of(epoch["val/acc"], epoch["val/loss"], monitor) for epoch in validated]
    return Outcome(figures, has_ended, has_failed, [epoch["seconds"] for epoch in validated])


def _records(path: Path, kind: type[Record]) -> list[Record]:
    content = atomic_write.read(path, LARGEST) or b""
    try:
        return [kind(**json.loads(line)) for line in content.split(b"\n")[:-1]]  # a torn line has no newline
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged. Choose another sweep_name.") from error


def _append(path: Path, before: Sequence[Drawn | Final], new: Sequence[Drawn | Final]) -> None:
    whole = b"".join(map(_line, before))
    try:
        if whole != (atomic_write.read(path, LARGEST) or b""):
            atomic_write.write(path, whole)  # without a torn line
        with path.open("ab", buffering=0) as file:
            for one in new:
                file.write(_line(one))
                os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}. Free some space.") from error


def _line(record: Drawn | Final) -> bytes:
    return (json.dumps(asdict(record)) + "\n").encode()
