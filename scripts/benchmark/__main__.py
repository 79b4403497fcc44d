"""Time this project, Keras on JAX, hand-written JAX, and the arithmetic limit, on one core.

Every contestant runs in a separate process, and they take turns. Writes results.json and speed.png, and prints a table
of medians and of ratios within a round.

Example: python scripts/benchmark --rounds 3 --epochs 5
"""

import argparse
import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chart
import table
import turns
from recipes import EXPERIMENTS, composed

from mlplab.errors import reported
from mlplab.runs import marked_page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="number of timings of each contestant (default: 3)")
    parser.add_argument("--epochs", type=int, help="epochs per run (default: those of each recipe)")
    parser.add_argument("--hidden", type=int, nargs="+", metavar="WIDTH", help=f"time {EXPERIMENTS[0]} at these widths")
    parser.add_argument("--core", type=int, default=0, help="core on which all of them run (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark"), help="output folder")
    parser.add_argument(
        "--publish", type=Path, metavar="PAGE",
        help="only put the table between the marks of a Markdown page, and chart and figures beside this script",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.publish:
        with reported():
            publish(arguments.out, arguments.publish)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core})  # inherited by every process
    if arguments.hidden:
        recipes = [composed(EXPERIMENTS[0], arguments.epochs, hidden) for hidden in arguments.hidden]
    else:
        recipes = [composed(experiment, arguments.epochs) for experiment in EXPERIMENTS]
    results = {recipe.title: turns.results(recipe, arguments.rounds) for recipe in recipes}
    report = {"machine": machine(), "rounds": arguments.rounds, "recipes": results}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    chart.draw(report, arguments.out / "speed.png")
    print(f"\n{table.speed(report)}\n\nwritten to {arguments.out}")


def publish(out: Path, page: Path) -> None:
    report = json.loads((out / "results.json").read_text(encoding="utf-8"))
    marked_page.publish(page, "speed", table.speed(report))
    for name in ("results.json", "speed.png"):
        shutil.copy(out / name, turns.HERE)


def machine() -> dict[str, Any]:

    from mlplab.runs.provenance import processor

    versions = {package: version(package) for package in ("torch", "lightning", "keras", "jax")}
    return {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


if __name__ == "__main__":
    main()
