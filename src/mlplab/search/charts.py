"""Pictures of a search: accuracy of its draws, by epoch and by value."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREY, ORANGE, PALE, VERMILION, label
from mlplab.search.halving import Figure as Accuracy
from mlplab.search.halving import Outcome
from mlplab.search.records import Drawn

if TYPE_CHECKING:  # matplotlib takes half a second, and a report without pictures does not need it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS, MOST_LABELS, LONGEST_LABEL = 9, 8, 14
VAL_ACC = "validation accuracy (%)"
LOG_FROM = 100  # factor between the ends of an axis


def draw(drawn: Sequence[Drawn], outcomes: Sequence[Outcome], rungs: Sequence[int]) -> "dict[str, Figure]":
    """Draw the pictures for which there is enough data, by file name."""
    if not any(one.figures for one in outcomes):
        return {}
    panels = values(drawn, outcomes, rungs)
    return {"rungs.png": curves(outcomes, rungs), **({"space.png": panels} if panels else {})}


def curves(outcomes: Sequence[Outcome], rungs: Sequence[int]) -> "Figure":
    """Draw the accuracy of each draw by epoch: thin if it was not continued, red for the best complete one."""
    figure = canvas.figure(3.8, layout="constrained")
    axes = figure.add_subplot()
    complete = [one for one in outcomes if one.has_ended and one.figures]
    best = max(complete, key=lambda one: max(one.figures), default=None)
    for one in outcomes:
        is_best = one is best
        color, width = (VERMILION, 2.2) if is_best else (BLUE, 1.1) if one.has_ended else (GREY, 0.5)
        accs = [100 * acc for acc, _ in one.figures]
        axes.plot(range(1, len(accs) + 1), accs, color=color, linewidth=width, zorder=3 if is_best else 2)
        if len(accs) == 1:
            axes.plot([1], accs, "_", color=color, markersize=5)
    for rung in rungs[:-1]:
        axes.axvline(rung, color=PALE, linewidth=0.8, zorder=1)
    _zoom(axes, [figure for one in outcomes for figure in one.figures])
    axes.set(xlabel="epoch", ylabel=VAL_ACC)
    paused = sum(not one.has_ended for one in outcomes)
    figure.suptitle(f"{len(outcomes)} draws: thin, {paused} that were paused; red, the best of one seed", fontsize=9)
    return figure


def values(drawn: Sequence[Drawn], outcomes: Sequence[Outcome], rungs: Sequence[int]) -> "Figure | None":
    """Draw a panel for each key of the space: accuracy against value of each draw, coloured by the rung reached."""
    keys = list(dict.fromkeys(key for one in drawn for key in one.values))[:MOST_PANELS]
    if not keys:
        return None
    across = min(len(keys), 3)
    down = math.ceil(len(keys) / across)
    figure = canvas.figure(0.4 + 2.4 * down, layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, key in zip(panels.flat, keys, strict=False):
        pairs = zip(drawn, outcomes, strict=True)
        _panel(axes, key, [(one.values[key], became) for one, became in pairs if key in one.values], rungs)
    _zoom(panels.flat[0], [max(one.figures) for one in outcomes if one.figures])
    for axes in panels[:, 0]:
        axes.set_ylabel(VAL_ACC)
    for axes in panels.flat[len(keys) :]:
        axes.remove()
    figure.suptitle(f"grey: to epoch {rungs[0]}; orange: further; blue: complete", fontsize=9)
    return figure


def _panel(axes: "Axes", key: str, found: Sequence[tuple[str, Outcome]], rungs: Sequence[int]) -> None:
    numbers = [_number(text) for text, _ in found]
    names = list(dict.fromkeys(text for text, _ in found))
    is_numeric = all(number is not None for number in numbers) and len(names) > MOST_LABELS // 2
    for (text, became), number in zip(found, numbers, strict=True):
        if became.figures:
            length = len(became.figures)
            color = BLUE if became.has_ended else ORANGE if length > rungs[0] else GREY
            place = number if is_numeric and number is not None else names.index(text)
            size = 3 + 1.5 * sum(length >= rung for rung in rungs[1:])
            style: dict[str, Any] = {"color": color, "markersize": size, "alpha": 0.7, "markeredgewidth": 0}
            axes.plot([place], [100 * max(became.figures)[0]], "o", **style)
    known = [number for number in numbers if number is not None]
    if not is_numeric:
        axes.set_xticks(range(len(names)), [label(name, LONGEST_LABEL) for name in names], fontsize=7)
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif min(known) > 0 and max(known) >= LOG_FROM * min(known):
        axes.set_xscale("log")
    axes.set_xlabel(label(key))
    axes.grid(axis="y", color=PALE, linewidth=0.6)


def _zoom(axes: "Axes", figures: Sequence[Accuracy]) -> None:
    """Limit the axis to the upper three quarters of all values, because the worst draws would compress the others."""
    accs = sorted(100 * acc for acc, _ in figures)
    low, high = accs[len(accs) // 4], accs[-1]
    margin = max(0.05, 0.06 * (high - low))
    axes.set_ylim(low - margin, high + margin)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
