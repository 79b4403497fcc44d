"""Accuracies and times by seed, read from result files and kept in measured.json, and what they amount to."""

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from published import TOLERANCE, Recipe, data_of, seeds_wanted
from pydantic import TypeAdapter, ValidationError

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write
from mlplab.runs.result import read_result
from mlplab.sweeps.report.runs import Run, read_runs
from mlplab.sweeps.report.table import Spread

ROUNDING = 1e-9  # of percent
Device = dict[str, str | int]  # as mlplab.runs.provenance describes it; empty where a result does not say


@dataclass(frozen=True)
class Measured:
    """Of one recipe in one configuration; accuracies are fractions of 1, times are seconds of training."""

    test_acc: dict[int, float]  # by seed, as the next two
    fit_s: dict[int, float]
    config_hash: dict[int, str]
    missing: list[int]  # seeds that were wanted and are not complete
    precision: str
    versions: list[dict[str, str]]  # one, or several where seeds were trained with different ones
    devices: list[Device]  # in the same way
    is_earlier: bool = False  # measured with an earlier version of mlplab, or of the recipe
    check: dict[int, float] = field(default_factory=dict)  # test accuracy of some seeds with the present one

    @property
    def percent(self) -> Spread:
        return Spread.of([100 * acc for acc in self.test_acc.values()])

    @property
    def seconds(self) -> float:
        """Of one seed: the median."""
        return statistics.median(self.fit_s.values())

    @property
    def wanted(self) -> int:
        """How many seeds there should be."""
        return max(seeds_wanted(self.seconds), len(self.test_acc) + len(self.missing))


Entries = Mapping[str, Measured]  # by recipe
_FILE: TypeAdapter[dict[str, Measured]] = TypeAdapter(dict[str, Measured])


def verdict(recipe: Recipe, name: str, entry: Measured) -> str:
    """Is the published figure reached? Empty where nothing was published.

    Where that is itself a mean over several runs, a difference has the errors of both.
    """
    if recipe.accuracy is None:
        return ""
    found, published = entry.percent, float(recipe.accuracy)
    if found.sd is None:
        return f"one run, {_beside(published, found.mean)}"
    if found.n < entry.wanted:
        return "incomplete"
    its_error = float(recipe.sd or 0) / math.sqrt(recipe.runs or 1)
    noise = 2 * math.hypot(found.sd / math.sqrt(found.n), its_error)
    if found.mean - noise > published + ROUNDING:
        return "beaten"
    if found.mean >= published - max(noise, found.sd, TOLERANCE[data_of(name)]) - ROUNDING:
        return "reproduced"
    return f"short by {published - found.mean:.3f}"  # 0.104 is more than 0.10


def _beside(published: float, once: float) -> str:
    if abs(once - published) < ROUNDING:
        return "the same"
    return "above" if once > published else f"short by {published - once:.2f}"


def read(folder: Path, hash_of: Callable[[int], str], wanted: int) -> Measured | None:
    """From the runs of a sweep, those that have the recipe's present configuration; None if there are none.

    Args:
        folder: of the sweep.
        hash_of: the hash of the present configuration with a seed.
        wanted: how many seeds, from 0.
    """
    runs: dict[int, Run] = {}
    devices: dict[int, Device] = {}
    precisions: dict[int, str] = {}
    for run in sorted(read_runs(folder)[0], key=lambda run: (run.seed, run.written)):
        result = read_result(folder / run.name)
        if result is not None and result.config_hash == hash_of(run.seed):
            runs[run.seed], devices[run.seed] = run, result.device
            precisions[run.seed] = str(result.precision)
    if not runs:
        return None
    return Measured(
        test_acc={seed: run.metrics["test/acc"] for seed, run in runs.items()},
        fit_s={seed: run.fit_s for seed, run in runs.items()},
        config_hash={seed: hash_of(seed) for seed in runs},
        missing=[seed for seed in range(wanted) if seed not in runs],
        precision=" and ".join(sorted(set(precisions.values()))),
        versions=_distinct(versions for run in runs.values() for versions in (*run.earlier_versions, run.versions)),
        devices=_distinct(devices.values()),
    )


def load(path: Path) -> dict[str, Measured]:
    """Raises CheckpointError if it cannot be read; empty if there is none."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise CheckpointError(f"{path}: cannot be read: {reason}. Move it away; --only-read makes it anew.") from error


def published(before: Entries, found: Entries, is_current: Callable[[str, Measured], bool]) -> dict[str, Measured]:
    """The entries to be published: what was found where all of its seeds are complete.

    An incomplete recipe is a check of the entry before it, and that is marked as one of an earlier version; so are
    entries of other recipes that `is_current` is false for.
    """
    entries = {name: replace(entry, is_earlier=not is_current(name, entry)) for name, entry in before.items()}
    for name, entry in found.items():
        if entry.missing and name in before and before[name].percent.n > entry.percent.n:
            entries[name] = replace(before[name], is_earlier=True, check=entry.test_acc)
        else:
            entries[name] = entry
    return entries


def kept(path: Path, found: Entries) -> dict[str, Measured]:
    """Put entries into a file, in which all others stay as they were, and return all of them."""
    entries = {**load(path), **found}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write(path, _FILE.dump_json(entries, indent=1) + b"\n")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error
    return entries


def place(devices: Iterable[Device]) -> str:
    """`one core of an Intel Xeon`, `an NVIDIA H200`, or several."""
    return " and ".join(map(_place, devices))


def _place(device: Device) -> str:
    if "name" not in device:
        return "an unknown machine"
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
