"""Put what a sweep says against its reference into the README: python scripts/results/tricks.py outputs/sweeps/NAME.

It is that of `python train.py sweep=tricks`; the section "What is a trick worth?" shows it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mlplab.errors import CheckpointError, reported
from mlplab.sweeps.report.runs import Run


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the sweep")
    folder = parser.parse_args(arguments).folder
    with reported():
        publish(folder)


def publish(folder: Path) -> None:
    """Raises CheckpointError if the folder compares nothing with a reference, or the README cannot be written."""
    import headers
    import sweeps

    from mlplab.runs import atomic_write
    from mlplab.sweeps.report import Report, markdown

    report = Report.of(folder)
    if not report.differences:
        raise CheckpointError(f"{folder}: no runs that could be compared with a reference, such as trick=plain.")
    pairs = sum(one.val.seeds for one in report.differences)
    block = "\n\n".join([*markdown.content(report.against_baseline), conditions(pairs, report.complete)])
    readme = sweeps.PROJECT / "README.md"
    try:
        text = headers.with_block(readme.read_text(encoding="utf-8"), "tricks", block)
        atomic_write.write(readme, text.encode(), sync=False)
    except OSError as error:
        raise CheckpointError(f"{readme}: cannot be written: {error.strerror}.") from error
    print("Published: README.md")


def conditions(pairs: int, runs: Sequence[Run]) -> str:
    """How many pairs are compared, and what all runs were trained with."""
    epochs, precisions = (
        " or ".join(dict.fromkeys(str(run.settings.get(key, default)) for run in runs))
        for key, default in (("trainer.max_epochs", ""), ("trainer.precision", "32-true"))
    )
    return f"{pairs} pairs of runs of {epochs} epochs, precision {precisions}."


if __name__ == "__main__":
    main()
