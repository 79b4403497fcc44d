"""The pictures of the benchmark."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from contestants import LIMIT
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from turns import FIRST

from mlplab.plots.canvas import BLUE, GREEN, GREY, ORANGE, VERMILION

DRAWN = (FIRST, "JAX scan", "Keras on JAX", "bare PyTorch loop", "scikit-learn", "plain Lightning")
DWARFING = "plain Lightning"  # among whole runs, which are shown without it
COLOURS = {FIRST: BLUE, "Keras on JAX": ORANGE, "JAX scan": GREEN, "bare PyTorch loop": GREY, LIMIT: VERMILION}


def draw_speed(report: dict[str, Any], path: Path) -> None:
    """Bars of medians: by recipe the seconds of an epoch, and of first and later runs side by side."""
    recipes = report["recipes"]
    figure, axes = plt.subplots(len(recipes), 2, figsize=(10, 3.6 * len(recipes)), layout="constrained", squeeze=False)
    for (left, right), (name, results) in zip(axes, recipes.items(), strict=True):
        medians = {contestant: results[contestant]["medians"] for contestant in DRAWN if contestant in results}
        runs = {contestant: found for contestant, found in medians.items() if contestant != DWARFING}
        _bars(left, {contestant: found["epoch_s"] for contestant, found in medians.items()}, 0.0, 0.7)
        if LIMIT in results:
            limit = results[LIMIT]["medians"]["epoch_s"]
            left.axvline(limit, color=VERMILION, linestyle="--", zorder=1.5, label=f"arithmetic limit, {limit:.2f}")
            left.legend(loc="upper right")
        _bars(right, {contestant: found["later_s"] for contestant, found in runs.items()}, 0.2, 0.36)
        first = {contestant: found["first_s"] for contestant, found in runs.items() if "first_s" in found}
        _bars(right, first, -0.2, 0.36, hatch="////", fill=False)
        kinds = [Patch(edgecolor=GREY, hatch="////", fill=False, label="first, with every cache empty")]
        right.legend(
            handles=[*kinds, Patch(color=GREY, label="later")],
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
        )
        for axis, rows, unit in (
            (left, medians, "seconds per epoch"),
            (right, runs, "seconds from start to test accuracy"),
        ):
            axis.set_yticks(range(len(rows)), list(rows))
            axis.invert_yaxis()
            axis.set_xlabel(unit)
            axis.spines[["top", "right"]].set_visible(False)
            axis.margins(x=0.14)
        left.set_title(name, loc="left", fontsize=11)
    figure.suptitle(f"MNIST on one core: {report['machine']['cpu']}, medians", fontsize=12)
    figure.savefig(path, dpi=120)


def _bars(axis: Axes, values: dict[str, float], offset: float, height: float, **style: Any) -> None:
    """Of contestants in the order of `DRAWN`; those with first runs are the first."""
    colours = [COLOURS[FIRST] if contestant == FIRST else GREY for contestant in values]
    where = [row + offset for row in range(len(values))]
    bars = axis.barh(where, list(values.values()), height, color=colours, edgecolor=colours, **style)
    texts = [f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in values.values()]
    axis.bar_label(bars, texts, padding=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})


def draw_scaling(report: dict[str, Any], path: Path) -> None:
    """Microseconds per image by width and batch size, both axes logarithmic."""
    labels = {"width": "units in the hidden layer, batch 32", "batch": "images per batch, 128 units"}
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        points = report["us_per_image"][name]
        along = [point[name] for point in points]
        for contestant, colour in COLOURS.items():
            style = "--" if contestant == LIMIT else "o-"
            axis.loglog(along, [point["median"][contestant] for point in points], style, color=colour, label=contestant)
        axis.set_xticks(along, [f"{value:,}" for value in along])
        axis.set_xticks([], minor=True)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("microseconds per image")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].legend()
    figure.suptitle(f"784-units-10 trained by Adam on one core: {report['machine']['cpu']}", fontsize=12)
    figure.savefig(path, dpi=120)
