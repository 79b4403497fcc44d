"""Publish the differences to a baseline that a sweep found: python scripts/results/tricks.py outputs/sweeps/NAME.

The sweep is that of `python train.py sweep=tricks`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from publish import with_block, write
from recipe import PROJECT

from mlplab.errors import CheckpointError, reported
from mlplab.sweeps.report.runs import Run


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the sweep")
    folder = parser.parse_args(arguments).folder
    with reported():
        publish(folder)


def publish(folder: Path) -> None:
    """Raises CheckpointError if the folder compares nothing with a baseline, or no page can be written."""
    from mlplab.sweeps.report import Report, markdown

    report = Report.of(folder)
    if not report.differences:
        raise CheckpointError(f"{folder}: no runs that could be compared with a baseline, such as ablation=plain.")
    pairs = sum(one.val.seeds for one in report.differences)
    block = "\n\n".join([*markdown.content(report.against_baseline), conditions(pairs, report.complete)])
    for path in write(with_block("tricks", block)):
        print(f"Published: {path.relative_to(PROJECT)}")


def conditions(pairs: int, runs: Sequence[Run]) -> str:
    """Say how many pairs are compared, and what all runs were trained with."""
    epochs, precisions = (
        " or ".join(dict.fromkeys(str(run.settings.get(key, default)) for run in runs))
        for key, default in (("trainer.max_epochs", ""), ("trainer.precision", "32-true"))
    )
    return f"{pairs} pairs of runs of {epochs} epochs, precision {precisions}."


if __name__ == "__main__":
    main()
