"""Accuracies and times by seed, read from result files and kept in measured.json, and what they amount to."""

import math
import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from published import TOLERANCE, Recipe, data_of
from pydantic import TypeAdapter, ValidationError

from mlplab import durable, run_folder
from mlplab.errors import CheckpointError
from mlplab.report.runs import Run, read_runs
from mlplab.report.table import Spread

ROUNDING = 1e-9  # of percent
ON_THE_CPU = {"cpu", "mps"}


@dataclass(frozen=True)
class Measured:
    """Of one recipe in one configuration; accuracies are fractions of 1, times are seconds of training."""

    test_acc: dict[int, float]  # by seed, as the next two
    fit_s: dict[int, float]
    config_hash: dict[int, str]
    missing: list[int]  # seeds that were wanted and are not complete
    precision: str
    versions: list[dict[str, str]]  # one, or several where seeds were trained with different ones
    machine: dict[str, str | int]

    @property
    def percent(self) -> Spread:
        return Spread.of([100 * acc for acc in self.test_acc.values()])

    @property
    def seconds(self) -> float:
        """Of one seed: the median."""
        return statistics.median(self.fit_s.values())


Entries = Mapping[str, Measured]  # by recipe
_FILE: TypeAdapter[dict[str, Measured]] = TypeAdapter(dict[str, Measured])


def verdict(recipe: Recipe, name: str, found: Spread) -> str:
    """Is the published figure reached? `found` is percent; empty where nothing was published."""
    if recipe.accuracy is None:
        return ""
    if found.sd is None:
        return "one run"
    published = float(recipe.accuracy)
    if found.mean - 2 * found.sd / math.sqrt(found.n) > published + ROUNDING:
        return "beaten"
    if found.mean >= published - max(found.sd, TOLERANCE[data_of(name)]) - ROUNDING:
        return "reproduced"
    return f"short by {published - found.mean:.2f}"


def read(folder: Path, hash_of: Callable[[int], str], wanted: int, machine: dict[str, str | int]) -> Measured | None:
    """From the runs of a sweep, those that have the recipe's present configuration; None if there are none.

    Args:
        folder: of the sweep.
        hash_of: the hash of the present configuration with a seed.
        wanted: how many seeds, from 0.
        machine: where they were trained.
    """
    runs: dict[int, Run] = {}
    for run in sorted(read_runs(folder)[0], key=lambda run: (run.seed, run.written)):
        result = run_folder.read_result(folder / run.name)
        if result is not None and result.get("config_hash") == hash_of(run.seed):
            runs[run.seed] = run
    if not runs:
        return None
    settings = next(iter(runs.values())).settings
    if settings.get("trainer.accelerator") in ON_THE_CPU:
        machine = {key: value for key, value in machine.items() if key != "gpu"}
    return Measured(
        test_acc={seed: run.metrics["test/acc"] for seed, run in runs.items()},
        fit_s={seed: run.fit_s for seed, run in runs.items()},
        config_hash={seed: hash_of(seed) for seed in runs},
        missing=[seed for seed in range(wanted) if seed not in runs],
        precision=str(settings.get("trainer.precision") or "32-true"),
        versions=_distinct(versions for run in runs.values() for versions in (*run.earlier_versions, run.versions)),
        machine=machine,
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


def kept(path: Path, found: Entries) -> dict[str, Measured]:
    """Put entries into a file, in which all others stay as they were, and return all of them.

    Figures that are in the file already keep the machine that they were noted with.
    """
    entries = load(path)
    for name, entry in found.items():
        before = entries.get(name)
        if before is None or replace(before, machine=entry.machine) != entry:
            entries[name] = entry
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(path, _FILE.dump_json(entries, indent=1) + b"\n")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error
    return entries


def this_machine() -> dict[str, str | int]:
    """The model of the processor and how many cores there are; the GPU, if there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return {"cpu": model, "cores": os.cpu_count() or 1, **_gpu()}


def _gpu() -> dict[str, str]:
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return {"gpu": names[0]} if names else {}


def place(machine: Mapping[str, str | int]) -> str:
    """`one core of an Intel Xeon`, or `an NVIDIA H200`."""
    name = str(machine.get("gpu") or machine["cpu"])
    name = " ".join(re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*|\d+-Core", " ", name).split())
    article = "an" if name.startswith(("A", "E", "I", "O", "NVIDIA")) else "a"
    return f"{article} {name}" if "gpu" in machine else f"one core of {article} {name}"


def _distinct(all_versions: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    found: list[dict[str, Any]] = []
    for versions in map(dict, all_versions):
        if versions not in found:
            found.append(versions)
    return found
