"""Chart of the test error of each recipe and the published one, the fastest recipe on top."""

from measured import Entries, Measured
from page import known, seconds
from recipe import Recipe

from mlplab.config.datasets import DATASETS
from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREY, PALE, SMALL, TEXT, VERMILION

LEFT, RIGHT, ABOVE, BETWEEN, BELOW, ROW = 2.35, 0.15, 0.75, 0.5, 0.5, 0.27  # inches


def draw(entries: Entries) -> "canvas.Figure":
    """Draw a panel for each data set, with a row for each recipe; there must be at least one."""
    panels = {data: [item for item in known(entries).items() if item[0].data == data] for data in DATASETS}
    panels = {data: rows for data, rows in panels.items() if rows}
    inside = ROW * sum(len(rows) + 1 for rows in panels.values())
    figure = canvas.figure(ABOVE + inside + BETWEEN * (len(panels) - 1) + BELOW)
    canvas.title(figure, "Test error of each recipe")
    _legend(figure)
    top = ABOVE
    for data, rows in panels.items():
        height = ROW * (len(rows) + 1)
        axes = canvas.axes(figure, LEFT, top, canvas.WIDTH - LEFT - RIGHT, height)
        axes.set_title(DATASETS[data].title, fontsize=TEXT, loc="left", pad=3)
        _rows(axes, rows)
        top += height + BETWEEN
    axes.set_xlabel("test error (%)", fontsize=TEXT)
    return figure


def _rows(axes: "canvas.Axes", rows: list[tuple[Recipe, Measured]]) -> None:
    for row, (recipe, entry) in enumerate(rows):
        error, accuracy = 100 - entry.percent.mean, recipe.published.accuracy
        if accuracy is not None:
            published = 100 - float(accuracy)
            axes.plot([published, error], [row, row], "-", color=GREY, linewidth=0.8, zorder=1)
            gid = f"published {recipe.name}"
            axes.plot([published], [row], "|", color=VERMILION, markersize=11, markeredgewidth=2, gid=gid)
        axes.errorbar(
            [error], [row], xerr=[entry.percent.sd or 0.0], fmt="none", ecolor=BLUE, elinewidth=1.6, capsize=2.5
        )
        axes.plot([error], [row], "o", color=BLUE, markersize=6, zorder=3, gid=f"measured {recipe.name}")
    axes.set_yticks(range(len(rows)), [f"{recipe.name}, {seconds(entry.seconds)} s" for recipe, entry in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(labelsize=SMALL)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(figure: "canvas.Figure") -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    mark = {"marker": "|", "markersize": 11, "markeredgewidth": 2, "linestyle": ""}
    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=6, linewidth=1.6, label="mean and sd over the seeds"),
        Line2D([], [], color=VERMILION, label="published or reference", **mark),  # type: ignore[arg-type]
    ]
    anchor = (1 - RIGHT / width, 1 - 0.06 / height)
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=anchor, ncols=2, fontsize=TEXT, frameon=False)
