"""Summarise all runs below a folder, and write report.md, report.csv, runs.csv and pictures into it.

Examples: python scripts/report.py outputs/sweeps/NAME
          python scripts/report.py outputs/sweeps/NAME --recipe conf/experiment/mine.yaml
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mlplab.errors import CheckpointError, reported
from mlplab.runs import folder as run_folder
from mlplab.search import answer, export, recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a sweep, any other folder that contains runs, or `last`")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="also write the winner of a search as a recipe")
    parser.add_argument("--optuna", type=Path, metavar="FILE", help="also write its draws for optuna-dashboard")
    parser.add_argument("--no-pictures", action="store_true", help="write no pictures")
    arguments = parser.parse_args()
    with reported():
        folder = run_folder.meant(arguments.folder)
        is_job = folder != arguments.folder and folder.parents[1].name == "sweeps"
        folder = folder.parent if is_job else folder
        show(folder, not arguments.no_pictures)
        if arguments.recipe is not None:
            recipe.write(answer.of(folder), arguments.recipe)
        if arguments.optuna is not None:
            export.write_journal(answer.of(folder), arguments.optuna)


def show(folder: Path, pictures: bool) -> None:
    report = answer.report(folder)
    written: Sequence[Path] = ()
    try:
        written = report.write(pictures)
    except CheckpointError as error:  # a read-only folder can still be reported
        print(f"warning: {error}", file=sys.stderr)
    finally:
        report.show(Console(), written)


if __name__ == "__main__":
    main()
