"""The pictures of a report, as matplotlib figures."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREY, VERMILION, label
from mlplab.sweeps.report.settings import Setting, order
from mlplab.sweeps.report.table import Factor, Table
from mlplab.sweeps.report.time_chart import accuracy_by_time

MOST_PANELS, MOST_TICKS, MOST_CELLS = 12, 12, 15  # panels; labels of an axis; rows and columns of the heat map
LONGEST_LABEL, LETTERS = 22, 28  # characters: of one label, of those of an axis side by side
GOLDEN = 0.618  # its multiples, without the whole part, are spread evenly and in no order
VAL_ACC = "validation accuracy (%)"


def heading(name: str, table: Table) -> str:
    """Name the sweep, its data and its best figure: `my_sweep, mnist, best validation 98.03 %`."""
    data = sorted({str(run.settings.get("data.name")) for one in table.configurations for run in one.runs})
    best = max((one.val_acc.mean for one in table.validated if one.val_acc is not None), default=None)
    return ", ".join([name, *data, *([] if best is None else [f"best validation {100 * best:.2f} %"])])


def draw(table: Table, title: str) -> dict[str, "canvas.Figure"]:
    """Draw the pictures for which there is enough data, by file name, each with a title as `heading` gives it."""
    charts = {"factors": factors, "heatmap": heatmap, "time": accuracy_by_time, "curves": curves_of_best}
    return {f"{name}.png": figure for name, chart in charts.items() if (figure := chart(table, title))}


def factors(table: Table, title: str) -> "canvas.Figure | None":
    """Draw a panel for each factor: a dot for every run, a dash for the mean of each level."""
    shown = _by_effect(table)[:MOST_PANELS]
    if not shown:
        return None
    across = min(len(shown), 2 if len(shown) < 5 else 3)
    down = math.ceil(len(shown) / across)
    note = "dots: runs; dashes: mean of each level"
    figure = canvas.page(title, max(3.2, 2.7 * down), note, layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, factor in zip(panels.flat, shown, strict=False):
        levels = _levels(table, factor)
        for position, accs in enumerate(levels.values()):
            spread = [position + 0.3 * ((0.5 + GOLDEN * k) % 1 - 0.5) for k in range(len(accs))]
            axes.plot(spread, sorted(accs), "o", color=BLUE, markersize=4, alpha=0.5, markeredgewidth=0)
        means = [statistics.fmean(accs) for accs in levels.values()]
        style = "_-" if _is_scale(levels) else "_"
        axes.plot(range(len(means)), means, style, color=VERMILION, markersize=16, markeredgewidth=2, linewidth=1)
        _name_levels(axes, factor, list(levels), LETTERS * (2 if across == 1 else 1))
        axes.set(xlim=(-0.5, len(levels) - 0.5), xlabel=label(factor.name))
        canvas.style(axes, "y")
    for axes in panels[:, 0]:
        axes.set_ylabel(VAL_ACC)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    return figure


def _is_scale(levels: Iterable[Setting]) -> bool:
    """Tell whether all levels are numbers, or lists of one; names, switches and lists of several have no order."""
    numbers = [level[0] if isinstance(level, tuple) and len(level) == 1 else level for level in levels]
    return all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)


def heatmap(table: Table, title: str) -> "canvas.Figure | None":
    """Draw the two factors with the largest effect; each cell is the mean over all other factors."""
    strongest = [factor for factor in _by_effect(table) if len(_levels(table, factor)) <= MOST_CELLS][:2]
    if len(strongest) < 2:
        return None
    across, down = sorted(strongest, key=table.factors.index)
    columns, rows = list(_levels(table, across)), list(_levels(table, down))
    means = {cell: statistics.fmean(accs) for cell, accs in _accs(table, down, across).items()}

    note = "the two settings with the largest effect; mean over all runs of a cell"
    figure = canvas.page(title, 1.8 + 0.42 * max(4, len(rows)), note, layout="constrained")
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
    canvas.style(axes)
    bar = figure.colorbar(image, label=f"mean {VAL_ACC}")
    canvas.style(bar.ax)
    return figure


def curves_of_best(table: Table, title: str) -> "canvas.Figure | None":
    """Draw loss and accuracy by epoch of the run with the best validation accuracy."""
    runs = [(run, one) for one in table.validated for run in one.runs if run.history and "val/acc" in run.metrics]
    if not runs:
        return None
    from mlplab.plots.run import curves  # imports numpy, which the printed report does not need

    run, configuration = max(runs, key=lambda pair: pair[0].metrics["val/acc"])
    setting = table.text(configuration)
    test = f"test {100 * run.metrics['test/acc']:.2f} %"
    about = ", ".join(filter(None, ("best run by validation", setting, f"seed {run.seed}", test)))
    return curves(run.history, run.best_epoch, title, about)


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
        canvas.slant(axes)


def _level(factor: Factor, level: Setting) -> str:
    return label(factor.text(level, digits=4), LONGEST_LABEL)
