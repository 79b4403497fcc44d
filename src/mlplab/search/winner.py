"""Finalists and winner of a search; imports neither torch nor Hydra."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlplab.runs.result import read_result
from mlplab.search import records
from mlplab.search.halving import Outcome
from mlplab.search.records import Final

BEGINNING = 0  # the draw of the base configuration


def best(outcomes: Sequence[Outcome], epochs: int) -> list[int]:
    """Return the draws that reached the last rung, the best first."""
    figures = [(figure, -draw) for draw, one in enumerate(outcomes) if (figure := one.at(epochs))]
    return [-draw for _, draw in sorted(figures, reverse=True)]


def chosen(folder: Path, runs: Iterable[Final]) -> int | None:
    """Return the draw with the best mean validation accuracy over the selecting seeds; None if no run is complete."""
    by_draw: defaultdict[int, list[float]] = defaultdict(list)
    for run in runs:
        if run.chooses and (result := read_result(records.place_of(folder, run))) is not None:
            by_draw[run.draw].append(result.metrics["val/acc"])
    most = max(map(len, by_draw.values()), default=0)
    means = {draw: statistics.fmean(accs) for draw, accs in by_draw.items() if len(accs) == most}
    return max(means, key=lambda draw: (means[draw], -draw), default=None)
