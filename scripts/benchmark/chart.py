"""The pictures of the benchmark."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from recipes import RECIPES

# Okabe and Ito's colours, which colour-blind people can tell apart.
OURS, OTHERS, LIMIT = "#0072B2", "#999999", "#D55E00"


def draw_speed(report: dict[str, Any], path: Path) -> None:
    """Bars of medians: by recipe the seconds of an epoch, and of the whole process."""
    figure, axes = plt.subplots(len(RECIPES), 2, figsize=(10, 6), layout="constrained")
    for row, (name, results) in zip(axes, report["recipes"].items(), strict=True):
        for axis, key, unit in zip(
            row,
            ("epoch_median_s", "process_median_s"),
            ("seconds per epoch", "seconds from start to test accuracy"),
            strict=True,
        ):
            values = {contestant: figures[key] for contestant, figures in results.items()}
            ordered = sorted(values, key=lambda contestant: -values[contestant])
            colours = [OURS if contestant.startswith("mlplab") else OTHERS for contestant in ordered]
            bars = axis.barh(ordered, [values[contestant] for contestant in ordered], color=colours)
            axis.bar_label(bars, fmt="%.2f" if key == "epoch_median_s" else "%.0f", padding=3)
            axis.set_xlabel(unit)
            axis.spines[["top", "right"]].set_visible(False)
            axis.margins(x=0.12)
        row[0].set_title(RECIPES[name].title, loc="left", fontsize=11)
    machine = report["machine"]
    figure.suptitle(f"MNIST on one core: {machine['cpu']}, medians", fontsize=12)
    figure.savefig(path, dpi=120)


def draw_scaling(report: dict[str, Any], path: Path) -> None:
    """Microseconds per image by width, batch size and number of images, both axes logarithmic."""
    labels = {"width": "units in the hidden layer", "batch": "images per batch", "images": "images per epoch"}
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained", sharey=True)
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        points = report["us_per_image"][name]
        along = [point[name] for point in points]
        for contestant, colour, style in (
            ("bare PyTorch loop", OTHERS, "o-"),
            ("mlplab", OURS, "o-"),
            ("limit", LIMIT, "--"),
        ):
            shown = "matrix products alone" if contestant == "limit" else contestant
            axis.loglog(along, [point[contestant] for point in points], style, color=colour, label=shown)
        axis.set_xticks(along, [f"{value:,}" for value in along], fontsize=8)
        axis.set_xticks([], minor=True)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("microseconds per image")
    axes[0].legend()
    figure.suptitle(
        f"784-512-10, Adam, batch 128, one of the three varied; {report['machine']['cpu']}, one core,"
        f" matrix products at {report['matrix_gflops']:.0f} GFLOP/s",
        fontsize=11,
    )
    figure.savefig(path, dpi=120)
