"""The benchmark of searches in Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from calibration import Judged
from curves import Rank
from replay import BUDGET, FULL_RUNS, SHOWN, epochs_to, regret
from replay import Path as Replayed

RANDOM = "random search"


def policies(found: Mapping[str, Sequence[Replayed]]) -> str:
    """Return a row for each search: regret by budget, epochs to random search's, draws and minutes."""
    goal = regret(found[RANDOM], BUDGET)[0]
    rows = [
        ["search", *(f"{epochs} epochs" for epochs in SHOWN), f"epochs to {goal:.2f}", "draws", "minutes"],
        ["---", *["---:"] * (len(SHOWN) + 3)],
    ]
    for name, paths in found.items():
        ends = [path[BUDGET] for path in paths]
        reached = epochs_to(paths, goal)
        share = f"{reached} ({reached / BUDGET:.2f})" if reached else f"over {BUDGET}"
        minutes = statistics.fmean(one.seconds for one in ends) / 60
        rows.append(
            [name, *_regrets(paths), share, f"{statistics.fmean(one.draws for one in ends):.0f}", f"{minutes:.1f}"]
        )
    said = (
        f"Points of test accuracy below the best recorded configuration, mean and standard error of {len(paths)}"
        f" replays; {BUDGET} epochs are {FULL_RUNS} complete runs. Minutes of training on one core."
    )
    return f"{_table(rows)}\n\n{said}"


def ranks(found: Mapping[tuple[Rank, Rank], Sequence[Replayed]]) -> str:
    """Return a row for each metric that runs are compared by, and that their weights are kept by."""
    rows = [["runs compared by", "weights kept by", *(f"{epochs} epochs" for epochs in SHOWN)]]
    rows.append(["---", "---", *["---:"] * len(SHOWN)])
    for (rank, kept), paths in found.items():
        rows.append([rank, kept, *_regrets(paths)])
    return _table(rows)


def coverage(found: Sequence[Judged]) -> str:
    """Say how often a winner's interval contained the true difference, and how optimistic the searches were."""
    held = sum(one.holds for one in found)
    said, true = (
        statistics.fmean(values) for values in zip(*((f.optimism, f.true_optimism) for f in found), strict=True)
    )
    return (
        f"The 95 % interval of the winner against the base configuration contained the true difference in {held}"
        f" of {len(found)} searches. The searches' own accuracy of the winner was off by {100 * true:+.2f} points on"
        f" average; their estimate of that error was {100 * said:+.2f}."
    )


def live(found: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return a row for each kind of live search, and the ratio of minutes of two workers to one."""
    rows = [["live search", "minutes", "idle share", "pieces", "val %"], ["---", *["---:"] * 4]]
    for kind, turns in found.items():
        accs = _range([100 * turn["val_acc"] for turn in turns])
        idle = _range([100 * turn["idle"] for turn in turns], "{:.1f} %")
        rows.append([kind, _range([turn["minutes"] for turn in turns]), idle, str(turns[0]["pieces"]), accs])
    one, two, *_ = found.values()
    ratios = [b["minutes"] / a["minutes"] for a, b in zip(one, two, strict=True)]
    said = (
        f"Two workers take {_range(ratios)} times as long as one. Medians of {len(ratios)} rounds in turn, with ranges."
    )
    return f"{_table(rows)}\n\n{said}"


def _regrets(paths: Sequence[Replayed]) -> list[str]:
    return ["{:.2f} ± {:.2f}".format(*regret(paths, epochs)) for epochs in SHOWN]


def _range(values: Sequence[float], form: str = "{:.2f}") -> str:
    median, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low} to {high})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
