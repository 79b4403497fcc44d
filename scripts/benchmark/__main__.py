"""Time this project beside others: `python scripts/benchmark`. --scaling, --threads, --sweep, --distortions and
--board time more.

Every contestant is a process of its own on one core, and they take turns. Written are tables of medians and of ratios
within a round, results.json and speed.png.
"""

import argparse
import json
import os
import platform
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import chart
import table
from contestants import CONTESTANTS
from recipes import RECIPES
from turns import EARLIER, HERE, OVERRIDES, PROJECT, Benchmark

NAMES = tuple(name for name in (*OVERRIDES, *CONTESTANTS) if name != EARLIER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least_one, default=3, help="how often each is timed (default: 3)")
    parser.add_argument("--core", type=int, default=0, help="the core that all of them run on (default: 0)")
    parser.add_argument("--epochs", type=at_least_one, help="of a run, instead of the recipe's")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark"), help="folder of what is written")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="CONTESTANT")
    parser.add_argument("--earlier", type=Path, metavar="CHECKOUT", help="also time a version that compiled its step")
    parser.add_argument("--publish", action="store_true", help="time nothing: put what was written into the README")
    parser.add_argument("--scaling", action="store_true", help="how the cost grows with width and batch")
    parser.add_argument("--threads", action="store_true", help="what a second thread gains, alone and in company")
    parser.add_argument("--sweep", action="store_true", help="what sweeps of twelve and of sixty jobs take")
    parser.add_argument("--distortions", action="store_true", help="what distorting 100 images takes")
    parser.add_argument("--board", action="store_true", help="what TensorBoard takes to show 200 runs, in Chromium")
    arguments = parser.parse_args()
    out, rounds = arguments.out, arguments.rounds
    earlier = arguments.earlier.resolve() if arguments.earlier else None
    out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    if arguments.publish:
        publish(out)
    elif arguments.threads:
        import threads

        write(out / "threads.json", threads.measure(rounds))
    elif arguments.sweep:
        import sweep

        write(out / "sweep.json", sweep.measure(rounds, earlier))
    elif arguments.board:
        import board

        board.measure()
    else:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {arguments.core})  # inherited by every process
        if arguments.distortions:
            import distortions

            write(out / "distortions.json", distortions.measure())
        elif arguments.scaling:
            import scaling

            report = write(out / "scaling.json", scaling.measure(rounds))
            chart.draw_scaling(report, out / "scaling.png")
            print(f"\n{table.scaling(report)}")
        else:
            contestants = [*arguments.only, *([EARLIER] if earlier else [])]
            benchmark = Benchmark(contestants, rounds, earlier)
            recipes = [replace(recipe, epochs=arguments.epochs or recipe.epochs) for recipe in RECIPES.values()]
            results = {recipe.heading: benchmark.results(recipe, first_runs=True) for recipe in recipes}
            report = write(out / "results.json", {"rounds": rounds, "recipes": results})
            chart.draw_speed(report, out / "speed.png")
            print(f"\n{table.speed(report)}")


def at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def write(path: Path, measured: dict[str, Any]) -> dict[str, Any]:
    """The report as written: what was measured, and on which machine."""
    report = {"machine": machine(), **measured}
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")
    return report


def publish(out: Path) -> None:
    """Copy reports and charts to this folder, and put their tables into the README."""
    for name, picture, markdown in (("results", "speed", table.speed), ("scaling", "scaling", table.scaling)):
        source = out / f"{name}.json"
        if source.exists():
            table.publish(PROJECT / "README.md", picture, markdown(json.loads(source.read_text(encoding="utf-8"))))
            shutil.copy(source, HERE)
            shutil.copy(out / f"{picture}.png", HERE)


def machine() -> dict[str, Any]:
    from importlib.metadata import version

    from mlplab.runs.provenance import processor

    packages = ("torch", "lightning", "keras", "jax", "scikit-learn")
    versions = {package: version(package) for package in packages}
    return {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


if __name__ == "__main__":
    main()
