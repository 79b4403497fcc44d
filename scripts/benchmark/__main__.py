"""Time this project beside others: `python scripts/benchmark`. --scaling, --threads, --sweep, --distortions and
--board time more.

Every contestant is a process of its own on one core, and the caches of those that compile are warm. They take turns,
and ratios are taken within a round, so that what slows the machine down for a while slows all of them. Written are a
table of medians, results.json and speed.png.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chart
from recipes import RECIPES

HERE = Path(__file__).resolve().parent
TRAIN = HERE.parents[1] / "train.py"
IMPORTS = "import torch, torchvision, lightning"
FIRST = "mlplab"  # the one that the others are compared with
OURS = {
    FIRST: ["compile=true"],
    "mlplab, bf16-mixed": ["compile=true", "trainer.precision=bf16-mixed"],
    "mlplab, no checkpoints": ["compile=true", "trainer.enable_checkpointing=false"],
    "mlplab, nothing shown": ["compile=true", "show=none"],
    "mlplab, no files": ["compile=true", "show.files=false"],
    "mlplab, compile=false": ["compile=false"],
}
OTHERS = ("Keras on JAX", "bare PyTorch loop", "scikit-learn", "plain Lightning")
Turns = dict[str, list[dict[str, Any]]]  # by contestant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least_one, default=3, help="how often each is timed (default: 3)")
    parser.add_argument("--core", type=int, default=0, help="the core that all of them run on (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark"), help="folder of what is written")
    parser.add_argument("--only", nargs="+", choices=(*OURS, *OTHERS), default=(*OURS, *OTHERS), metavar="CONTESTANT")
    parser.add_argument("--scaling", action="store_true", help="how the cost grows with width, batch and data set")
    parser.add_argument("--threads", action="store_true", help="what a second thread gains, alone and in company")
    parser.add_argument("--sweep", action="store_true", help="what twelve jobs take, at once and one after the other")
    parser.add_argument("--distortions", action="store_true", help="what distorting 100 images takes")
    parser.add_argument("--board", action="store_true", help="what TensorBoard takes to show 200 runs, in Chromium")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    if arguments.threads:
        import threads

        write(arguments.out / "threads.json", {"machine": machine(), **threads.measure(arguments.rounds)})
        return
    if arguments.sweep:
        import sweep

        write(arguments.out / "sweep.json", {"machine": machine(), **sweep.measure(arguments.rounds)})
        return
    if arguments.board:
        import board

        board.measure()
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core})  # inherited by every process
    if arguments.distortions:
        import distortions

        write(arguments.out / "distortions.json", {"machine": machine(), **distortions.measure()})
        return
    if arguments.scaling:
        import scaling

        report = {"machine": machine(), **scaling.measure()}
        write(arguments.out / "scaling.json", report)
        chart.draw_scaling(report, arguments.out / "scaling.png")
    else:
        report = {"machine": machine(), "recipes": {}}
        for name in RECIPES:
            report["recipes"][name] = compared(name, arguments.only, arguments.rounds)
            show(name, report["recipes"][name])
        report["imports_mb"] = run([sys.executable, "-c", IMPORTS])[2]
        print(f"\npeak memory of {IMPORTS!r} alone: {report['imports_mb']:,.0f} MB")
        write(arguments.out / "results.json", report)
        chart.draw_speed(report, arguments.out / "speed.png")
    print(f"\nwritten to {arguments.out}")


def at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def compared(recipe: str, contestants: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Figures of each contestant, see `summary`."""
    for contestant in contestants:
        if contestant in OURS or contestant == "Keras on JAX":
            turn(recipe, contestant, 1)  # not counted: fills its cache
    turns: Turns = {contestant: [] for contestant in contestants}
    for number in range(rounds):
        for contestant, taken in turns.items():
            taken.append(turn(recipe, contestant, RECIPES[recipe].epochs, seed=number))
            seconds = steady(taken[-1])
            print(f"{recipe}, round {number + 1}, {contestant}: {seconds:.2f} s per epoch", flush=True)
    return {contestant: summary(contestant, turns) for contestant in contestants}


def steady(turn: dict[str, Any]) -> float:
    """Seconds of the median epoch but the first, in which some compile."""
    return float(statistics.median(turn["epoch_s"][1:]))


def summary(contestant: str, turns: Turns) -> dict[str, Any]:
    """Medians, the ratio to `FIRST` in each round, and the turns themselves."""
    epoch_s = {name: [steady(turn) for turn in taken] for name, taken in turns.items()}
    process_s = {name: [turn["process_s"] for turn in taken] for name, taken in turns.items()}
    return {
        "epoch_median_s": statistics.median(epoch_s[contestant]),
        "epoch_ratios": ratios(epoch_s, contestant),
        "process_median_s": statistics.median(process_s[contestant]),
        "process_ratios": ratios(process_s, contestant),
        "peak_median_mb": statistics.median(turn["peak_mb"] for turn in turns[contestant]),
        "test_acc_mean": statistics.mean(turn["test_acc"] for turn in turns[contestant]),
        "turns": turns[contestant],
    }


def ratios(seconds: dict[str, list[float]], contestant: str) -> list[float]:
    """To `FIRST`, or whoever stands first, by round."""
    first = seconds.get(FIRST, next(iter(seconds.values())))
    return [own / other for own, other in zip(seconds[contestant], first, strict=True)]


def turn(recipe: str, contestant: str, epochs: int, seed: int = 0) -> dict[str, Any]:
    """Seconds by epoch, seconds and peak memory of the process, and test accuracy."""
    if contestant in OURS:
        return ours(recipe, epochs, f"seed={seed}", *OURS[contestant])
    output, seconds, peak = run([sys.executable, str(HERE / "contestants.py"), contestant, recipe, str(epochs)])
    return {**json.loads(output.splitlines()[-1]), "process_s": seconds, "peak_mb": peak}


def ours(recipe: str, epochs: int, *overrides: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        _, seconds, peak = run(
            [
                sys.executable,
                str(TRAIN),
                f"experiment={recipe}",
                f"trainer.max_epochs={epochs}",
                "trainer.accelerator=cpu",
                "trainer.enable_progress_bar=true",  # as a person would see it; the others have theirs
                f"hydra.run.dir={folder}/run",
                *overrides,
            ]
        )
        result = json.loads(Path(folder, "run", "result.json").read_text(encoding="utf-8"))
    epoch_s = [epoch["seconds"] for epoch in result["history"]]
    return {"epoch_s": epoch_s, "process_s": seconds, "peak_mb": peak, "test_acc": result["metrics"]["test/acc"]}


def run(command: list[str]) -> tuple[str, float, float]:
    """Standard output, seconds, and peak memory in MB."""
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read().decode()[-3000:]}")
    return output, seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def show(recipe: str, results: dict[str, dict[str, Any]]) -> None:
    print(f"\n{RECIPES[recipe].title}: medians, and how many times the first's (lowest to highest of the rounds)")
    print(f"  {'':22} {'s per epoch':>26} {'s, process':>28} {'peak MB':>8} {'test acc':>9}")
    for contestant, figures in results.items():
        columns = [
            f"{figures[f'{kind}_median_s']:7.{digits}f} {spread(figures[f'{kind}_ratios']):>19}"
            for kind, digits in (("epoch", 2), ("process", 1))
        ]
        print(
            f"  {contestant:22} {'  '.join(columns)} {figures['peak_median_mb']:8,.0f} {figures['test_acc_mean']:9.2%}"
        )
    print()


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def machine() -> dict[str, Any]:
    from importlib.metadata import version

    from mlplab.device import processor

    packages = ("torch", "lightning", "keras", "jax", "scikit-learn")
    versions = {package: version(package) for package in packages}
    return {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


if __name__ == "__main__":
    main()
