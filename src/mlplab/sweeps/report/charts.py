"""The pictures of a report, as matplotlib's figures."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREEN, GREY, ORANGE, PALE, VERMILION, label
from mlplab.sweeps.report.runs import Run
from mlplab.sweeps.report.settings import Setting, order, shown
from mlplab.sweeps.report.table import Column, Configuration, Table

if TYPE_CHECKING:  # matplotlib takes half a second, and is not needed to read this report's numbers
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS, MOST_TICKS, MOST_CELLS = 12, 12, 15  # panels; labels of an axis; rows and columns of the heat map
LONGEST_LABEL, ROOM_FOR_LABELS = 22, 28  # characters: of one label, of those of an axis side by side
VAL_ACC = "validation accuracy (%)"


def draw(table: Table) -> dict[str, "Figure"]:
    """By file name: those that the table has something for."""
    figures = {
        "factors.png": factors(table),
        "heatmap.png": heatmap(table),
        "time.png": accuracy_by_time(table),
        "curves.png": curves(table),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def factors(table: Table) -> "Figure | None":
    """A panel for each factor: every run a dot, and the means of the levels."""
    columns = _by_effect(table)[:MOST_PANELS]
    if not columns:
        return None
    across = min(len(columns), 2 if len(columns) < 5 else 3)
    down = math.ceil(len(columns) / across)
    figure = canvas.figure(max(3.2, 2.7 * down), layout="constrained")
    axes: Axes | None = None
    for place, column in enumerate(columns, 1):
        axes = figure.add_subplot(down, across, place, sharey=axes)
        levels = _levels(table, column)
        for position, accs in enumerate(levels.values()):
            # Side by side in the order of their size: as jitter, but the same every time.
            spread = [position + 0.3 * ((k + 0.5) / len(accs) - 0.5) for k in range(len(accs))]
            axes.plot(spread, sorted(accs), "o", color=BLUE, markersize=4, alpha=0.5, markeredgewidth=0)
        means = [statistics.fmean(accs) for accs in levels.values()]
        axes.plot(range(len(means)), means, "_-", color=VERMILION, markersize=16, markeredgewidth=2, linewidth=1)
        _name_levels(axes, column, list(levels), ROOM_FOR_LABELS * (2 if across == 1 else 1))
        axes.set_xlim(-0.5, len(levels) - 0.5)
        axes.set_xlabel(label(column.name))
        axes.grid(axis="y", color=PALE, linewidth=0.6)
        if (place - 1) % across == 0:
            axes.set_ylabel(VAL_ACC)
    figure.suptitle("dots: runs, line: mean of each level", fontsize=9)
    return figure


def heatmap(table: Table) -> "Figure | None":
    """The two factors with the greatest effect, the mean over all others in each cell."""
    columns = [column for column in _by_effect(table) if len(_levels(table, column)) <= MOST_CELLS][:2]
    if len(columns) < 2:
        return None
    across, down = sorted(columns, key=table.columns.index)
    columns_of, rows_of = list(_levels(table, across)), list(_levels(table, down))
    cells: defaultdict[tuple[Setting, Setting], list[float]] = defaultdict(list)
    x, y = table.columns.index(across), table.columns.index(down)
    for configuration in table.validated:
        cells[configuration.values[y], configuration.values[x]] += _accs(configuration)
    means = {cell: statistics.fmean(accs) for cell, accs in cells.items()}
    grid = [[means.get((row, column), math.nan) for column in columns_of] for row in rows_of]

    figure = canvas.figure(1.8 + 0.42 * max(4, len(rows_of)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#eeeeee")  # of cells that were not tried
    image = axes.imshow(grid, cmap="cividis", aspect="auto")
    middle = (min(means.values()) + max(means.values())) / 2
    size = min(9.0, 80 / len(columns_of))
    for i, row in enumerate(grid):
        for j, mean in enumerate(row):
            text, color = ("-", GREY) if math.isnan(mean) else (f"{mean:.2f}", "white" if mean < middle else "black")
            axes.text(j, i, text, color=color, fontsize=size, ha="center", va="center")
    _name_levels(axes, across, columns_of, 2 * ROOM_FOR_LABELS)
    axes.set_yticks(range(len(rows_of)), [_level(down, level) for level in rows_of])
    axes.set_xlabel(label(across.name))
    axes.set_ylabel(label(down.name))
    figure.colorbar(image, label=f"mean {VAL_ACC}")
    return figure


def accuracy_by_time(table: Table) -> "Figure | None":
    """A dot a configuration, with the spread of its seeds; the best three are named."""
    ranked = table.validated
    if not ranked:
        return None
    figure = canvas.figure(4.5, layout="constrained")
    axes = figure.add_subplot()
    best = [(VERMILION, "s"), (ORANGE, "D"), (GREEN, "^")]
    for place, configuration in enumerate(ranked):
        name = f"{place + 1}: {label(table.text(configuration) or 'the only configuration', 70)}"
        color, marker = best[place] if place < len(best) else (BLUE, "o")
        spread = configuration.val_acc
        assert spread is not None
        axes.errorbar(
            configuration.fit_s,
            100 * spread.mean,
            yerr=None if spread.sd is None else 100 * spread.sd,
            fmt=marker,
            color=color,
            markersize=7 if place < len(best) else 4,
            elinewidth=0.8,
            alpha=1 if place < len(best) else 0.6,
            zorder=3 if place < len(best) else 2,
            label=name if place < len(best) else None,
        )
    times = [configuration.fit_s for configuration in ranked if configuration.fit_s > 0]
    if len(times) == len(ranked) and max(times) > 10 * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("time of training (s)")
    axes.set_ylabel(f"mean {VAL_ACC}")
    axes.grid(color=PALE, linewidth=0.6)
    title = "the best by validation"
    if any(len(configuration.runs) > 1 for configuration in ranked):
        title += "; bars: standard deviation over seeds"
    figure.legend(loc="outside lower left", fontsize=8, title=title, title_fontsize=8)
    return figure


def curves(table: Table) -> "Figure | None":
    """Loss and accuracy by epoch, of the best and of the median run."""
    runs = [(run, configuration) for configuration in table.validated for run in configuration.runs]
    runs = [(run, configuration) for run, configuration in runs if run.history and run.val_acc is not None]
    if not runs:
        return None
    runs.sort(key=lambda pair: -pair[0].metrics["val/acc"])
    picked = {"best": runs[0], "median": runs[len(runs) // 2]} if len(runs) > 2 else {"best": runs[0]}
    figure = canvas.figure(5.2, layout="constrained")
    axes = figure.subplots(2, len(picked), sharex="col", sharey="row", squeeze=False)
    for column, (which, (run, configuration)) in enumerate(picked.items()):
        about = label(table.text(configuration), 36)
        axes[0, column].set_title(f"{which} run: {about + ', ' if about else ''}seed {run.seed}", fontsize=9)
        for row, (figure_name, factor) in enumerate({"loss": 1, "acc": 100}.items()):
            for split, color, style in (("train", BLUE, "--"), ("val", ORANGE, "-")):
                _curve(axes[row, column], run, f"{split}/{figure_name}", factor, color, style)
            axes[row, column].axvline(run.best_epoch, color=GREY, linewidth=1, linestyle=":", zorder=1)
            axes[row, column].grid(color=PALE, linewidth=0.6)
        axes[1, column].set_xlabel("epoch")
        axes[1, column].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("loss (nats)")
    axes[1, 0].set_ylabel("accuracy (%)")
    lines = [*axes[0, 0].get_lines()]
    said = {"train/loss": "training", "val/loss": "validation"}
    names = [said.get(str(line.get_gid()), "best epoch") for line in lines]
    figure.legend(lines, names, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _curve(axes: "Axes", run: Run, metric: str, factor: int, color: str, style: str) -> None:
    points = [
        (epoch.get("epoch", position), factor * epoch[metric])
        for position, epoch in enumerate(run.history, 1)
        if metric in epoch
    ]
    if points:
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, style, color=color, marker="o", markersize=2.5, linewidth=1.3, gid=metric)


def _by_effect(table: Table) -> list[Column]:
    """The factor whose levels have the most different means comes first."""

    def effect(column: Column) -> float:
        means = [statistics.fmean(accs) for accs in _levels(table, column).values()]
        return max(means) - min(means)

    columns = [column for column in table.columns if len(_levels(table, column)) > 1]
    return sorted(columns, key=effect, reverse=True)


def _levels(table: Table, column: Column) -> dict[Setting, list[float]]:
    """Accuracies in percent of all runs, by level, in the order of the levels."""
    position = table.columns.index(column)
    accs: defaultdict[Setting, list[float]] = defaultdict(list)
    for configuration in table.validated:
        accs[configuration.values[position]] += _accs(configuration)
    return {level: accs[level] for level in sorted(accs, key=order)}


def _accs(configuration: Configuration) -> list[float]:
    return [100 * run.val_acc for run in configuration.runs if run.val_acc is not None]


def _name_levels(axes: "Axes", column: Column, levels: Sequence[Setting], room: int) -> None:
    """Labels below the axis: slanted where they would touch, and not all of them where there are too many."""
    shown_levels = range(0, len(levels), math.ceil(len(levels) / MOST_TICKS))
    labels = [_level(column, levels[position]) for position in shown_levels]
    axes.set_xticks(shown_levels, labels)
    if max(map(len, labels)) * len(labels) > room:
        axes.tick_params("x", rotation=35, labelsize=8)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _level(column: Column, level: Setting) -> str:
    return label(shown(column.key, level, digits=4), LONGEST_LABEL)
