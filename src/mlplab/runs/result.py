"""result.json of a complete run and status.json of any run: typed records, written and read here alone."""

import json
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from mlplab import startup
from mlplab.runs import atomic_write

LARGEST = {
    "result.json": 2**26,
    "paused.json": 2**26,
    "status.json": 2**20,
    "config.yaml": 2**16,
}  # bytes; 1,000 epochs take 0.3 MB
LARGEST_FLOAT = 3.5e38  # a 32-bit loss; sums of such numbers are still finite

State = Literal["running", "completed", "paused", "interrupted", "diverged", "failed"]
Number = Annotated[int | float, PlainValidator(lambda value: _number(value, -LARGEST_FLOAT))]
Amount = Annotated[float, PlainValidator(lambda value: _number(value, 0))]
Versions: TypeAlias = dict[str, str]
Value: TypeAlias = bool | int | float | str | None
Setting: TypeAlias = Value | list[Value]
Settings: TypeAlias = dict[str, Setting | dict[str, Setting | dict[str, Setting]]]

STRICT = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


def _number(value: object, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= LARGEST_FLOAT:
        raise ValueError(f"must be a number from {least:g} to {LARGEST_FLOAT:g}")
    return value


def _with_accuracies(metrics: dict[str, float]) -> dict[str, float]:
    for key in ("test/acc", *({"val/acc"} & metrics.keys())):
        if not 0 <= metrics.get(key, -1) <= 1:
            raise ValueError(f"{key} is missing or not between 0 and 1")
    return metrics


class Result(BaseModel):
    """The result of a complete run. Accuracies are fractions of 1."""

    model_config = STRICT

    folder: Path = Field(Path(), exclude=True)  # where it lies
    status: Literal["completed"]
    monitor: str
    epochs: int
    max_epochs: int
    steps: int
    parameters: int
    train_images: int
    val_images: int
    seed: int
    precision: str | int
    config_hash: str
    versions: Versions
    device: dict[str, str | int]
    history: list[dict[str, Number]]  # a mapping per epoch, by metric name
    config: Settings
    optimizer: dict[str, Any] | None = None  # its initial arguments; None for a custom class
    scheduler: dict[str, Any] | None = None
    earlier_versions: list[Versions]  # of earlier processes that trained it: only the differences
    metrics: Annotated[dict[str, Number], AfterValidator(_with_accuracies)]  # of the best weights
    score: Number  # the monitored metric, or that of training if there was no validation
    best_epoch: int
    fit_s: Amount
    images_per_s: Amount
    total_s: Amount

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the result of a run.

        Raises:
            FileNotFoundError: if the run is not complete.
            ValueError: if the result is damaged; the reason is one line.
        """
        (folder / "result.json").lstat()
        try:
            return cls.model_validate_json(_content(folder / "result.json")).model_copy(update={"folder": folder})
        except ValidationError as error:
            raise ValueError(_first(error)) from error


class Pause(BaseModel):
    """The progress of a run at its last pause; kept whatever happens to the run afterwards."""

    model_config = STRICT

    config_hash: str
    seconds: Amount  # of training
    history: list[dict[str, Number]]  # a mapping per epoch, by metric name


class Status(BaseModel):
    """The status of a run at its last sign of life."""

    model_config = STRICT

    status: State
    time: str
    pid: int
    host: str
    versions: list[Versions] = []  # versions and arithmetic of each process that trained it
    epoch: int | None = None
    step: int | None = None
    done: float | None = None  # share of all steps
    reason: str | None = None
    failures: int = 0  # since the run was last paused

    def has_failed(self, attempts: int) -> bool:
        """True if the run diverged, or failed `attempts` times; with a single attempt, any failure counts."""
        return self.status == "diverged" or (self.status == "failed" and (attempts == 1 or self.failures >= attempts))

    @property
    def is_killed(self) -> bool:
        """True if the state is "running" but its process no longer exists; processes of other machines are trusted."""
        return self.status == "running" and self.host == socket.gethostname() and not startup.is_alive(self.pid)


def outcome(status: str, reason: str) -> str:
    """Describe how a run ended: `interrupted in epoch 4 of 150`, `failed: ZeroDivisionError: ...`."""
    for word in ("Interrupted", "Terminated", "The terminal was closed"):
        if reason.startswith(word):
            return f"interrupted{reason.removeprefix(word).rstrip('.')}"
    return f"{status}: {reason}"


def read_result(folder: Path) -> Result | None:
    """Read a result; None if the run is not complete, or its result is damaged."""
    try:
        return Result.load(folder)
    except (OSError, ValueError):
        return None


def damage(folder: Path) -> str:
    """Describe the damage of a run's result; empty if it is intact or missing."""
    try:
        Result.load(folder)
    except ValueError as error:
        return str(error)
    except OSError:
        pass
    return ""


def read_pause(folder: Path) -> Pause | None:
    """Read the progress of a run at its last pause; None if it was never paused, or the file is damaged."""
    try:
        return Pause.model_validate_json(_content(folder / "paused.json"))
    except ValueError:
        return None


def read_status(folder: Path) -> Status | None:
    """Read a status; None if it is missing or damaged."""
    try:
        return Status.model_validate_json(_content(folder / "status.json"))
    except ValueError:
        return None


def write_status(
    folder: Path,
    status: State,
    reason: str | None = None,
    versions: Sequence[Versions] | None = None,
    counts: bool = True,
    **progress: float,
) -> None:
    """Write status.json with the current time; earlier versions and failures are kept.

    A full disk does not stop the run.
    """
    before = read_status(folder)
    if versions is None:
        versions = before.versions if before else []
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    facts: dict[str, Any] = {"versions": list(versions), **progress}
    failures = (before.failures if before else 0) + (status == "failed" and counts)
    if status in ("paused", "completed"):
        failures = 0
    facts |= {"failures": failures} if failures else {}
    if reason is not None:
        facts["reason"] = reason.encode(errors="replace").decode()  # it may contain a file name that is not UTF-8
    written = Status(status=status, time=now, pid=os.getpid(), host=socket.gethostname(), **facts)
    with suppress(OSError):
        atomic_write.write(folder / "status.json", as_json(written), sync=False)


def forget_failures(folder: Path) -> None:
    """Give a run that has not failed for good all of its attempts again."""
    status = read_status(folder)
    if status is not None and status.failures:
        with suppress(OSError):
            atomic_write.write(folder / "status.json", as_json(status.model_copy(update={"failures": 0})), sync=False)


def composed(folder: Path) -> Settings:
    """Read the configuration that Hydra composed for a run, in which values may refer to others.

    Raises:
        ValueError: if it is missing or damaged; the reason is one line.
    """
    try:
        return _SETTINGS.validate_python(yaml.load(config_text(folder), yaml.CSafeLoader))
    except ValidationError as error:
        raise ValueError(f"config.yaml: {_first(error)}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"config.yaml: {str(error).splitlines()[0]}") from error


_SETTINGS: TypeAdapter[Settings] = TypeAdapter(Settings, config=ConfigDict(strict=True))


def config_text(folder: Path) -> str:
    """Read the configuration as text; raises ValueError if it is missing or too large."""
    return _content(folder / ".hydra" / "config.yaml").decode()


def _content(path: Path) -> bytes:
    most = LARGEST[path.name]
    content = atomic_write.read(path, most)
    if content is None:
        raise ValueError(f"{path.name} is missing, not a readable file, or larger than {most:,} bytes")
    return content


def _first(error: ValidationError) -> str:
    """Format the first mistake in one line: `metrics.val/acc: input should be a valid number`."""
    mistake = error.errors(include_url=False, include_input=False)[0]
    keys = takewhile(lambda key: not re.fullmatch(r"bool|int|float|str|.*\[.*", key), map(str, mistake["loc"]))
    where, message = ".".join(keys), mistake["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}" if where else message.splitlines()[0]


def as_json(record: BaseModel) -> bytes:
    return (json.dumps(record.model_dump(mode="json", exclude_unset=True), indent=2, allow_nan=False) + "\n").encode()
