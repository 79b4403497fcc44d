"""The chart of the benchmark."""

from pathlib import Path
from typing import Any

from contestants import LIMIT
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from turns import FIRST

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREY, VERMILION

DRAWN = (FIRST, "JAX scan", "Keras on JAX")


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw bars of medians by recipe: seconds per epoch, and of first and later runs."""
    recipes = report["recipes"]
    figure = canvas.figure(2.6 * len(recipes), 10, "constrained")
    panels = figure.subplots(len(recipes), 2, squeeze=False)
    for (left, right), (name, results) in zip(panels, recipes.items(), strict=True):
        medians = [results[contestant]["medians"] for contestant in DRAWN]
        _bars(left, [found["epoch_s"] for found in medians], 0.0, 0.7)
        limit = results[LIMIT]["medians"]["epoch_s"]
        left.axvline(limit, color=VERMILION, linestyle="--", zorder=1.5)
        _bars(right, [found["later_s"] for found in medians], 0.2, 0.36)
        _bars(right, [found["first_s"] for found in medians], -0.2, 0.36, hatch="////", fill=False)
        first = Patch(edgecolor=GREY, hatch="////", fill=False, label="first, with every cache empty")
        right.legend(
            handles=[first, Patch(color=GREY, label="later")],
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
        )
        per_epoch = f"seconds per epoch; dashed: arithmetic limit, {limit:.2f}"
        for axes, unit in ((left, per_epoch), (right, "seconds from start to test accuracy")):
            axes.set_yticks(range(len(DRAWN)), DRAWN)
            axes.invert_yaxis()
            axes.set_xlabel(unit)
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(x=0.14)
        left.set_title(name, loc="left", fontsize=11)
    figure.suptitle(f"MNIST on one core: {report['machine']['cpu']}, medians", fontsize=12)
    canvas.save({path: figure})


def _bars(axes: Axes, values: list[float], offset: float, height: float, **style: Any) -> None:
    colours = [BLUE if contestant == FIRST else GREY for contestant in DRAWN]
    positions = [row + offset for row in range(len(values))]
    bars = axes.barh(positions, values, height, color=colours, edgecolor=colours, **style)
    texts = [f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in values]
    axes.bar_label(bars, texts, padding=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
