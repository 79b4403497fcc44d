"""Publish the report of a sweep as a block of the pages: python scripts/results/sweep.py outputs/sweeps/NAME.

Differences from a baseline, as in `python train.py sweep=tricks`, are written to the block `tricks`. A ranking with its
sentences, as in `python train.py sweep=hidden_by_optimizer`, is written to the block `sweep`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from publish import with_blocks, write
from recipe import PROJECT

from mlplab.errors import reported
from mlplab.sweeps.report.runs import Run


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the sweep")
    folder = parser.parse_args(arguments).folder
    with reported():
        publish(folder)


def publish(folder: Path) -> None:
    """Publish the report; raises CheckpointError if the folder holds no runs, or no page can be written."""
    from mlplab.sweeps.report import Report, files

    report = Report.of(folder)
    if report.differences:
        pairs = sum(one.val.seeds for one in report.differences)
        name, parts = "tricks", [*files.content(report.against_baseline), conditions(pairs, report.complete)]
    else:
        ranking, *others = report.sections
        differences = next(section for section in others if section.heading.startswith("Differences"))
        name, parts = "sweep", [*files.content(ranking), *files.content(differences)]
    for path in write(with_blocks({name: "\n\n".join(parts)})):
        print(f"Published: {path.relative_to(PROJECT)}")


def conditions(pairs: int, runs: Sequence[Run]) -> str:
    """Describe the number of pairs, and the settings common to all runs."""
    epochs, precisions = (
        " or ".join(dict.fromkeys(str(run.settings.get(key, default)) for run in runs))
        for key, default in (("trainer.max_epochs", ""), ("trainer.precision", "32-true"))
    )
    return f"{pairs} pairs of runs of {epochs} epochs, precision {precisions}."


if __name__ == "__main__":
    main()
