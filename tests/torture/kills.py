"""Runs that are killed, signalled, and started together."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import runs
import torch
from report import Report

from mlplab.errors import CheckpointError
from mlplab.runs import checkpoint_file
from mlplab.runs.checkpoint_writer import DurableCheckpointIO

# Where `killed.py` kills a run, and how often it has passed there before.
POINTS = {
    "at the start of an epoch": ("on_train_epoch_start", 40),
    "at the end of an epoch": ("on_train_epoch_end", 41),
    "before a block": ("on_train_batch_start", 42),
    "after a block": ("on_train_batch_end", 43),
    "in validation": ("on_validation_batch_end", 44),
    "after validation": ("on_validation_end", 45),
    "in the write of a checkpoint": ("/.last.ckpt.", 46),
    "at the end": ("on_train_end", 0),
    "in the test": ("on_test_start", 0),
}


def at_random_times(folder: Path, dice: random.Random, report: Report, kills: int = 24) -> None:
    """SIGKILL at random times, again and again until the run is complete."""
    for kind in runs.KINDS:
        whole, seconds = runs.whole(folder, kind)
        done, number = 0, 0
        while done < kills // len(runs.KINDS):
            run = folder / f"random-{number}"
            number += 1
            arguments = [*runs.RUN, *runs.KINDS[kind], f"hydra.run.dir={run}"]
            for _ in range(3):
                with runs.start(folder, *arguments) as process:
                    if dice.random() < 0.9:
                        runs.wait_for_training(process)
                    time.sleep(dice.uniform(0, seconds / 2))
                    code, _ = runs.stop(process, signal.SIGKILL)
                done += code == -signal.SIGKILL
                if (run / ".hydra" / "config.yaml").exists():
                    arguments = [f"resume={run}"]
            report.add(f"three kills at random times, {kind}", runs.resumed(folder, run, whole, *arguments))
            shutil.rmtree(run)


def at_named_points(folder: Path, dice: random.Random, report: Report) -> None:
    for kind in runs.KINDS:
        whole, _ = runs.whole(folder, kind)
        for name, (at, calls) in POINTS.items():
            run = folder / name.replace(" ", "-")
            killed = {"program": "tests/torture/killed.py", "TORTURE_AT": at, "TORTURE_CALLS": str(calls)}
            ended = runs.finished(folder, *runs.RUN, *runs.KINDS[kind], f"hydra.run.dir={run}", **killed)
            found = runs.problems(*ended, expected=-signal.SIGKILL) or runs.resumed(folder, run, whole)
            report.add(f"a kill {name}, {kind}", found)
            shutil.rmtree(run)


def by_signals(folder: Path, dice: random.Random, report: Report, count: int = 20) -> None:
    """SIGINT and SIGTERM at random times in training: check exit code, duration and the resumed run."""
    wholes = {kind: runs.whole(folder, kind) for kind in runs.KINDS}
    sent_in_time, number = 0, 0
    while sent_in_time < count:
        number += 1
        kind = list(runs.KINDS)[number % 2]
        whole, seconds = wholes[kind]
        sent = signal.SIGINT if dice.random() < 0.5 else signal.SIGTERM
        run = folder / f"signal-{number}"
        with runs.start(folder, *runs.RUN, *runs.KINDS[kind], f"hydra.run.dir={run}") as process:
            runs.wait_for_training(process)
            time.sleep(dice.uniform(0, 0.6 * seconds))
            started = time.monotonic()
            code, printed = runs.stop(process, sent)
            took = time.monotonic() - started
        if (run / "result.json").exists() and code == 0:
            continue  # it was complete before the signal came
        sent_in_time += 1
        status = json.loads((run / "status.json").read_text())["status"]
        found = runs.problems(code, printed, expected=128 + sent)
        found += [f"took {took:.1f} s"] * (took > 2) + [f"status {status}"] * (status != "interrupted")
        found += ["has a result"] * (run / "result.json").exists()
        report.add(f"a {signal.Signals(sent).name}, {kind}", found + runs.resumed(folder, run, whole))
        shutil.rmtree(run)


def while_writing(folder: Path, dice: random.Random, report: Report, kills: int = 200) -> None:
    """SIGKILL while checkpoints are written, with TMPDIR on another file system if there is one."""
    if Path("/dev/shm").is_dir():
        os.environ["TMPDIR"] = "/dev/shm"
    safe = 0  # the number of the newest checkpoint that was seen
    for kill in range(kills):
        child = os.fork()
        if child == 0:
            _write_for_ever(folder, safe)
        time.sleep(dice.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = []
        numbers = [0] if safe == 0 else []
        for path in (folder / "last.ckpt", folder / "last.previous.ckpt"):
            try:
                numbers += [checkpoint_file.read(path)["number"]] if path.exists() else []
            except CheckpointError as error:
                found.append(f"kill {kill}: {error}")
        if not numbers or max(numbers) < safe:
            found.append(f"kill {kill}: number {safe} was there, and now there are {numbers}")
        safe = max([safe, *numbers])
        report.add("a kill while checkpoints are written", found)
    report.add("checkpoints were written between the kills", [] if safe >= kills else [f"only {safe}"])


def _write_for_ever(folder: Path, number: int) -> None:
    """Write checkpoints of 1 MB, each with the next number."""
    io, weights = DurableCheckpointIO(), torch.rand(250_000)
    while True:
        number += 1
        io.save_checkpoint({"number": number, "weights": weights}, folder / "last.ckpt")
        io.teardown()


def started_together(folder: Path, dice: random.Random, report: Report, count: int = 20) -> None:
    """Start runs in the same second; each must have its own folder, and none may fail."""
    short = ("data=digits", "trainer.max_epochs=1", "hydra.job.name=train")
    outcomes = runs.together(folder, [(*short, f"seed={seed}") for seed in range(count)])
    seeds = sorted(json.loads(path.read_text())["seed"] for path in folder.glob("outputs/digits/*/result.json"))
    for ended in outcomes:
        report.add("starts in one second", runs.problems(*ended))
    report.add("a folder for each", [] if seeds == list(range(count)) else [f"seeds {seeds}"])
    long = ("data=digits", "trainer.max_epochs=30", "hydra.run.dir=one")
    codes = [code for code, _ in runs.together(folder, [(*long, f"seed={seed}") for seed in range(5)])]
    report.add("five starts in one folder", [] if sorted(codes) == [0, 2, 2, 2, 2] else [f"exit codes {codes}"])
