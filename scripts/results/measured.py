"""Accuracies and times by seed, read from the runs of a sweep and stored in measured.json."""

import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from recipe import seeds_wanted

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write
from mlplab.runs.result import read_result
from mlplab.sweeps.report.table import Spread

Device = dict[str, str | int]  # as in result.json


@dataclass(frozen=True)
class Measured:
    """The runs of one recipe; accuracies are fractions of 1, times are seconds of training."""

    test_acc: dict[int, float]  # by seed, as the next two
    fit_s: dict[int, float]
    config_hash: dict[int, str]
    missing: list[int]  # seeds that are not complete
    precision: str
    versions: list[dict[str, str]]  # one, or several where seeds were trained with different ones
    devices: list[Device]  # in the same way
    is_earlier: bool = False  # measured with an earlier version of mlplab, or of the recipe
    check: dict[int, float] = field(default_factory=dict)  # test accuracy of some seeds with the present one

    @property
    def percent(self) -> Spread:
        return Spread.of([100 * acc for acc in self.test_acc.values()])

    @property
    def accuracy(self) -> str:
        """`98.22 ± 0.09`."""
        found = self.percent
        return f"{found.mean:.2f}" + ("" if found.sd is None else f" ± {found.sd:.2f}")

    @property
    def seconds(self) -> float:
        """The median training time of a seed."""
        return statistics.median(self.fit_s.values())

    @property
    def wanted(self) -> int:
        """The number of required seeds."""
        return max(seeds_wanted(self.seconds), len(self.test_acc) + len(self.missing))

    @property
    def place(self) -> str:
        """`one core of an Intel Xeon`, `an NVIDIA H200`, or several."""
        return " and ".join(map(_place, self.devices))


Entries = Mapping[str, Measured]  # by recipe
_FILE: TypeAdapter[dict[str, Measured]] = TypeAdapter(dict[str, Measured])


def read(sweep: Path, hash_of: Callable[[int], str], wanted: int) -> Measured | None:
    """Read the runs of a sweep that have the recipe's current configuration; None if there are none.

    Args:
        sweep: folder of the sweep.
        hash_of: returns the hash of the current configuration with a seed.
        wanted: number of seeds, from 0.
    """
    results = [read_result(path.parent) for path in sorted(sweep.glob("*/result.json"))]
    runs = {run.seed: run for run in results if run is not None and run.config_hash == hash_of(run.seed)}
    if not runs:
        return None
    return Measured(
        test_acc={seed: run.metrics["test/acc"] for seed, run in sorted(runs.items())},
        fit_s={seed: run.fit_s for seed, run in sorted(runs.items())},
        config_hash={seed: hash_of(seed) for seed in sorted(runs)},
        missing=[seed for seed in range(wanted) if seed not in runs],
        precision=" and ".join(sorted({str(run.precision) for run in runs.values()})),
        versions=_distinct(versions for run in runs.values() for versions in (*run.earlier_versions, run.versions)),
        devices=_distinct(run.device for run in runs.values()),
    )


def load(path: Path) -> dict[str, Measured]:
    """Read the stored results; none if there is no file.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise CheckpointError(f"{path}: cannot be read: {reason}. Move it; --only-read writes a new one.") from error


def keep(path: Path, found: Entries) -> dict[str, Measured]:
    """Write entries into a file, keeping its others, and return all of them."""
    entries = {**load(path), **found}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write(path, _FILE.dump_json(entries, indent=1) + b"\n")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error
    return entries


def updated(before: Entries, found: Entries, is_current: Callable[[str, Measured], bool]) -> dict[str, Measured]:
    """Return the entries to publish: the new ones with all seeds complete, and the others unchanged.

    The seeds of an incomplete recipe are stored as a check of its earlier entry, which is marked as from an earlier
    version; so are other entries for which `is_current` is false.
    """
    entries = {name: replace(entry, is_earlier=not is_current(name, entry)) for name, entry in before.items()}
    for name, entry in found.items():
        if entry.missing and name in before and before[name].percent.n > entry.percent.n:
            entries[name] = replace(before[name], is_earlier=True, check=entry.test_acc)
        else:
            entries[name] = entry
    return entries


def _place(device: Device) -> str:
    name = " ".join(re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*|\d+-Core", " ", str(device["name"])).split())
    name = f"{'an' if name.startswith(('A', 'E', 'I', 'O', 'NVIDIA')) else 'a'} {name}"
    if "threads" not in device:
        return name
    cores = "one core" if device["threads"] == 1 else f"{device['threads']} cores"
    return f"{cores} of {name}"


def _distinct(values: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for value in map(dict, values):
        if value not in found:
            found.append(value)
    return found
