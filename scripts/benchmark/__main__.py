"""Time this project beside others: `python scripts/benchmark`, or with --scaling how the cost grows.

Every contestant is a process of its own on one core. They take turns, so that what slows the machine down slows all of
them; the compiled step comes from its cache. Written are a table, results.json and speed.png.
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
from pathlib import Path
from typing import Any

import chart
from recipes import RECIPES

HERE = Path(__file__).resolve().parent
TRAIN = HERE.parents[1] / "train.py"
IMPORTS = "import torch, torchvision, lightning"
OURS = {"mlplab, compiled": "true", "mlplab, eager": "false"}
OTHERS = ("Keras on JAX", "bare PyTorch loop", "scikit-learn", "plain Lightning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed (default: 3)")
    parser.add_argument("--core", type=int, default=0, help="the core that all of them run on (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark"), help="folder of what is written")
    parser.add_argument("--only", nargs="+", choices=(*OURS, *OTHERS), default=(*OURS, *OTHERS), metavar="CONTESTANT")
    parser.add_argument("--scaling", action="store_true", help="how the cost grows with width, batch and data set")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core})  # inherited by every process
    if arguments.scaling:
        import scaling

        report = {"machine": machine(), **scaling.measure()}
        write(arguments.out / "scaling.json", report)
        chart.draw_scaling(report, arguments.out / "scaling.png")
    else:
        report = {"machine": machine(), "rounds": arguments.rounds, "recipes": {}}
        for name in RECIPES:
            report["recipes"][name] = compared(name, arguments.only, arguments.rounds)
            show(name, report["recipes"][name])
        report["imports_mb"] = run([sys.executable, "-c", IMPORTS])[2]
        print(f"\npeak memory of {IMPORTS!r} alone: {report['imports_mb']:,.0f} MB")
        write(arguments.out / "results.json", report)
        chart.draw_speed(report, arguments.out / "speed.png")
    print(f"\nwritten to {arguments.out}")


def write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def compared(recipe: str, contestants: tuple[str, ...], rounds: int) -> dict[str, dict[str, Any]]:
    """Of each contestant every turn's seconds by epoch, seconds and peak memory of its process, and test accuracy."""
    turns: dict[str, dict[str, list[Any]]] = {
        contestant: {"epoch_s": [], "process_s": [], "peak_mb": [], "test_acc": []} for contestant in contestants
    }
    ours(recipe, "true", 0, "trainer.max_epochs=1")  # not counted: compiles, and reads the files once
    for number in range(rounds):
        for contestant, seen in turns.items():
            turn = ours(recipe, OURS[contestant], number) if contestant in OURS else others(recipe, contestant)
            for key, value in turn.items():
                seen[key].append(value)
            print(f"{recipe}, round {number + 1}, {contestant}: {turn['process_s']:.1f} s", flush=True)
    return {contestant: {**seen, **medians(seen)} for contestant, seen in turns.items()}


def medians(turns: dict[str, list[Any]]) -> dict[str, float]:
    """`epoch_median_s` is that of all epochs but the first of each process."""
    return {
        "epoch_median_s": statistics.median(seconds for epochs in turns["epoch_s"] for seconds in epochs[1:]),
        "process_median_s": statistics.median(turns["process_s"]),
        "peak_median_mb": statistics.median(turns["peak_mb"]),
        "test_acc_mean": statistics.mean(turns["test_acc"]),
    }


def ours(recipe: str, compiled: str, seed: int, *overrides: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        _, seconds, peak = run(
            [
                sys.executable,
                str(TRAIN),
                f"experiment={recipe}",
                f"seed={seed}",
                f"compile={compiled}",
                "trainer.accelerator=cpu",
                "trainer.enable_progress_bar=true",  # as a person would see it; the others have theirs
                f"hydra.run.dir={folder}/run",
                *overrides,
            ]
        )
        result = json.loads(Path(folder, "run", "result.json").read_text(encoding="utf-8"))
    epochs = [epoch["seconds"] for epoch in result["history"]]
    return {"epoch_s": epochs, "process_s": seconds, "peak_mb": peak, "test_acc": result["metrics"]["test/acc"]}


def others(recipe: str, contestant: str) -> dict[str, Any]:
    output, seconds, peak = run([sys.executable, str(HERE / "contestants.py"), contestant, recipe])
    return {**json.loads(output.splitlines()[-1]), "process_s": seconds, "peak_mb": peak}


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
    first = next(iter(results.values()))
    print(f"\n{RECIPES[recipe].title}: medians, and how many times those of {next(iter(results))}")
    print(f"  {'':18} {'s per epoch':>14} {'s, process':>16} {'peak MB':>8} {'test acc':>9}")
    for contestant, figures in results.items():
        epoch, process = figures["epoch_median_s"], figures["process_median_s"]
        print(
            f"  {contestant:18} {epoch:6.2f} ({epoch / first['epoch_median_s']:5.2f}) {process:7.1f}"
            f" ({process / first['process_median_s']:5.2f})  {figures['peak_median_mb']:8,.0f}"
            f" {figures['test_acc_mean']:9.2%}"
        )
    print()


def machine() -> dict[str, Any]:
    from importlib.metadata import version

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    packages = ("torch", "lightning", "keras", "jax", "scikit-learn")
    versions = {package: version(package) for package in packages}
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


if __name__ == "__main__":
    main()
