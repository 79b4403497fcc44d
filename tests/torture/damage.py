"""Disks without room, and flipped bits."""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

import runs
import states
from report import Report

from mlplab.errors import CheckpointError
from mlplab.runs import checkpoint_file


def full_and_read_only_disks(folder: Path, dice: random.Random, report: Report) -> None:
    """Use a small file system, or, if it cannot be mounted, files of limited size."""
    small = folder / "small"
    mounted = _mounted(small, "4M")
    for number in range(6):
        run = small / f"run-{number}"
        arguments = ["data=digits", "model.hidden=[64,64]", "trainer.max_epochs=100000", f"hydra.run.dir={run}"]
        if not mounted:
            largest = dice.randrange(30_000, 120_000)
            limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest))
            code, printed = runs.finished(folder, *arguments, before=limit)
        elif number % 2:  # no room from the start
            _fill(small, dice.randrange(10_000, 200_000))
            code, printed = runs.finished(folder, *arguments)
        else:  # none after a while
            with runs.start(folder, *arguments) as process:
                runs.wait_for_training(process)
                time.sleep(dice.uniform(0, 0.5))
                _fill(small, 0)
                code, printed = runs.finish(process)
        (small / "filler").unlink(missing_ok=True)
        found = _other_than_refused(code, printed, f"small/run-{number}")
        found += ["has a result"] * (run / "result.json").exists()
        report.add("a full disk, " + ("before training" if number % 2 else "in training"), found)
        last = run / "checkpoints" / "last.ckpt"
        if last.exists():
            report.add("the last checkpoint on a full disk", _unreadable(last))
        shutil.rmtree(run, ignore_errors=True)
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        ended = runs.finished(folder, "data=digits", f"hydra.run.dir={small / 'run'}")
        report.add("a folder that is read-only", _other_than_refused(*ended, "small/run"))
        subprocess.run(["umount", small], check=True)
    run = _trained(folder)
    (run / "train.log").unlink()
    (run / "train.log").symlink_to("/dev/full")
    code, printed = runs.finished(folder, f"resume={run}", "trainer.max_epochs=2")
    warnings = printed.count("cannot be written")
    report.add("a log without room", runs.problems(code, printed) + [f"{warnings} warnings"] * (warnings != 1))


def flipped_bits(folder: Path, dice: random.Random, report: Report, flips: int = 100) -> None:
    """Flip bits in a checkpoint: it is refused, or read unchanged if the bit does not belong to its content."""
    path = _trained(folder) / "checkpoints" / "best.ckpt"
    good, content = path.read_bytes(), checkpoint_file.read(path)
    for _ in range(flips):
        damaged = bytearray(good)
        bit = dice.randrange(8 * len(good))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            report.add("a flipped bit", states.differences(checkpoint_file.read(path), content))
            continue
        report.add("a flipped bit", [])


def _trained(folder: Path) -> Path:
    code, printed = runs.finished(folder, "data=digits", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert code == 0, printed
    return folder / "run"


def _other_than_refused(code: int, printed: str, run: str) -> list[str]:
    found = runs.problems(code, printed, expected=4) + ["a traceback"] * ("Traceback" in printed)
    return found + [f"does not name {run}"] * (run not in printed)


def _mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0


def _fill(folder: Path, room: int) -> None:
    """Fill the disk except for `room` bytes."""
    found = os.statvfs(folder)
    with contextlib.suppress(OSError):
        (folder / "filler").write_bytes(b"0" * max(0, found.f_bavail * found.f_frsize - room))


def _unreadable(path: Path) -> list[str]:
    try:
        checkpoint_file.read(path)
    except CheckpointError as error:
        return [str(error)]
    return []
