"""The pictures of a report, as matplotlib figures."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREEN, GREY, ORANGE, PALE, VERMILION, label
from mlplab.sweeps.report.settings import Setting, order
from mlplab.sweeps.report.table import Factor, Table

MOST_PANELS, MOST_TICKS, MOST_CELLS = 12, 12, 15  # panels; labels of an axis; rows and columns of the heat map
LONGEST_LABEL, LETTERS = 22, 28  # characters: of one label, of those of an axis side by side
GOLDEN = 0.618  # its multiples, without the whole part, are spread evenly and in no order
VAL_ACC = "validation accuracy (%)"
BEST = ((VERMILION, "s"), (ORANGE, "D"), (GREEN, "^"))


def draw(table: Table) -> dict[str, "canvas.Figure"]:
    """Draw the pictures for which there is enough data, by file name."""
    charts = {"factors": factors, "heatmap": heatmap, "time": accuracy_by_time, "curves": curves_of_best}
    return {f"{name}.png": figure for name, chart in charts.items() if (figure := chart(table))}


def factors(table: Table) -> "canvas.Figure | None":
    """Draw a panel for each factor: a dot for every run, a dash for the mean of each level."""
    shown = _by_effect(table)[:MOST_PANELS]
    if not shown:
        return None
    across = min(len(shown), 2 if len(shown) < 5 else 3)
    down = math.ceil(len(shown) / across)
    figure = canvas.figure(max(3.2, 2.7 * down), layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, factor in zip(panels.flat, shown, strict=False):
        levels = _levels(table, factor)
        for position, accs in enumerate(levels.values()):
            spread = [position + 0.3 * ((0.5 + GOLDEN * k) % 1 - 0.5) for k in range(len(accs))]
            axes.plot(spread, sorted(accs), "o", color=BLUE, markersize=4, alpha=0.5, markeredgewidth=0)
        means = [statistics.fmean(accs) for accs in levels.values()]
        style = "_" if any(isinstance(level, str) for level in levels) else "_-"  # names are unordered
        axes.plot(range(len(means)), means, style, color=VERMILION, markersize=16, markeredgewidth=2, linewidth=1)
        _name_levels(axes, factor, list(levels), LETTERS * (2 if across == 1 else 1))
        axes.set(xlim=(-0.5, len(levels) - 0.5), xlabel=label(factor.name))
        axes.grid(axis="y", color=PALE, linewidth=0.6)
    for axes in panels[:, 0]:
        axes.set_ylabel(VAL_ACC)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    figure.suptitle("dots: runs, dashes: mean of each level", fontsize=9)
    return figure


def heatmap(table: Table) -> "canvas.Figure | None":
    """Draw the two factors with the largest effect; each cell is the mean over all other factors."""
    strongest = [factor for factor in _by_effect(table) if len(_levels(table, factor)) <= MOST_CELLS][:2]
    if len(strongest) < 2:
        return None
    across, down = sorted(strongest, key=table.factors.index)
    columns, rows = list(_levels(table, across)), list(_levels(table, down))
    means = {cell: statistics.fmean(accs) for cell, accs in _accs(table, down, across).items()}

    figure = canvas.figure(1.8 + 0.42 * max(4, len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#eeeeee")  # of untried combinations
    grid = [[means.get((row, column), math.nan) for column in columns] for row in rows]
    image = axes.imshow(grid, cmap="cividis", aspect="auto")
    middle = (min(means.values()) + max(means.values())) / 2
    style: dict[str, Any] = {"fontsize": min(9.0, 80 / len(columns)), "ha": "center", "va": "center"}
    for i, row in enumerate(grid):
        for j, mean in enumerate(row):
            text, color = ("-", GREY) if math.isnan(mean) else (f"{mean:.2f}", "white" if mean < middle else "black")
            axes.text(j, i, text, color=color, **style)
    _name_levels(axes, across, columns, 2 * LETTERS)
    axes.set_yticks(range(len(rows)), [_level(down, level) for level in rows])
    axes.set(xlabel=label(across.name), ylabel=label(down.name))
    figure.colorbar(image, label=f"mean {VAL_ACC}")
    return figure


def accuracy_by_time(table: Table) -> "canvas.Figure | None":
    """Draw a marker for each configuration, with the spread of its seeds; the best three are named."""
    ranked = table.validated
    if not ranked:
        return None
    figure = canvas.figure(4.5, layout="constrained")
    axes = figure.add_subplot()
    for position, one in enumerate(ranked):
        spread = one.val_acc
        assert spread is not None
        error = None if spread.sd is None else 100 * spread.sd
        color, marker = BEST[position] if position < len(BEST) else (BLUE, "o")
        style: dict[str, Any] = {"alpha": 0.6, "markersize": 4, "zorder": 2}
        if position < len(BEST):
            name = label(table.text(one) or "the only configuration", 70)
            style = {"markersize": 7, "zorder": 3, "label": f"{position + 1}: {name}"}
        axes.errorbar(one.fit_s, 100 * spread.mean, error, fmt=marker, color=color, elinewidth=0.8, **style)
    front = _front([(one.fit_s, 100 * one.val_acc.mean) for one in ranked if one.val_acc is not None])
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color=GREY, linewidth=0.9, zorder=1)
    times = [one.fit_s for one in ranked]
    if min(times) > 0 and max(times) > 10 * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="time of training (s)", ylabel=f"mean {VAL_ACC}")
    axes.grid(color=PALE, linewidth=0.6)
    has_spread = any(len(one.runs) > 1 for one in ranked)
    title = "the best by validation" + ("; bars: standard deviation over seeds" if has_spread else "")
    title += "; grey line: the best up to each time" if len(front) > 1 else ""
    figure.legend(loc="outside lower left", fontsize=8, title=title, title_fontsize=8)
    return figure


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that are better than all faster ones (Pareto front), by rising time."""
    front: list[tuple[float, float]] = []
    for seconds, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((seconds, accuracy))
    return front


def curves_of_best(table: Table) -> "canvas.Figure | None":
    """Draw loss and accuracy by epoch of the run with the best validation accuracy."""
    runs = [(run, one) for one in table.validated for run in one.runs if run.history and "val/acc" in run.metrics]
    if not runs:
        return None
    from mlplab.plots.run import curves  # imports numpy, which the printed report does not need

    run, configuration = max(runs, key=lambda pair: pair[0].metrics["val/acc"])
    setting = table.text(configuration)
    title = f"best run: {f'{setting}, ' if setting else ''}seed {run.seed}"
    return curves(run.history, run.best_epoch, title)


def _by_effect(table: Table) -> list[Factor]:
    """Sort the factors, first the one whose levels have the most widely spread means."""

    def effect(factor: Factor) -> float:
        means = [statistics.fmean(accs) for accs in _levels(table, factor).values()]
        return max(means) - min(means)

    return sorted((one for one in table.factors if len(_levels(table, one)) > 1), key=effect, reverse=True)


def _levels(table: Table, factor: Factor) -> dict[Setting, list[float]]:
    """Return the accuracies in percent of all runs, by level, in the order of the levels."""
    accs = _accs(table, factor)
    return {level: accs[level,] for (level,) in sorted(accs, key=order)}


def _accs(table: Table, *factors: Factor) -> dict[tuple[Setting, ...], list[float]]:
    """Return the accuracies in percent of all runs, by their levels of some factors."""
    positions = [table.factors.index(factor) for factor in factors]
    accs: defaultdict[tuple[Setting, ...], list[float]] = defaultdict(list)
    for one in table.validated:
        accs[tuple(one.values[position] for position in positions)] += [100 * acc for acc in one.accs().values()]
    return accs


def _name_levels(axes: "canvas.Axes", factor: Factor, levels: Sequence[Setting], letters: int) -> None:
    """Label the x axis: slanted if labels would overlap, and only some if there are many."""
    positions = range(0, len(levels), math.ceil(len(levels) / MOST_TICKS))
    labels = [_level(factor, levels[position]) for position in positions]
    axes.set_xticks(positions, labels)
    if max(map(len, labels)) * len(labels) > letters:
        axes.tick_params("x", labelsize=8)
        canvas.slant(axes)


def _level(factor: Factor, level: Setting) -> str:
    return label(factor.text(level, digits=4), LONGEST_LABEL)
