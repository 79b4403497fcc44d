"""A picture of a network's predictions."""

import math
from collections.abc import Sequence

import numpy as np

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREEN, SMALL, TEXT, VERMILION, label
from mlplab.plots.image_grid import Array, shown

MOST = 200  # images; more would exceed the height of a PNG


def predictions(
    images: Array,
    probabilities: Array,
    classes: Sequence[str],
    names: Sequence[str],
    truths: Sequence[int] | None = None,
    title: str = "predictions",
    about: str = "",
) -> "canvas.Figure":
    """Draw the first 200 of images (N, H, W) or (N, C, H, W) uint8, each beside its `probabilities` (N, K).

    Args:
        names: a line above each image.
        truths: the class of each image, if known: its name is green, a wrong prediction is red-orange.
        title, about: of the page; run, data and figure, and more of it.
    """
    chosen = shown(images[:MOST])
    across = min(2, len(chosen))
    width = canvas.WIDTH / across
    said = [label(name, 18) for name in classes]
    room = max(map(len, said)) * SMALL * canvas.LETTER + 0.08  # for the names of the classes
    bars = max(len(classes) * 0.125 * (2 if across == 1 else 1), 0.7)
    side = min(2.5 / across, bars)
    height = bars + 0.72
    more = f"the first {MOST} of {len(images):,} images" if len(images) > MOST else ""
    note = ", ".join(filter(None, (more, about)))
    top = canvas.top(note)
    figure = canvas.page(title, height * math.ceil(len(chosen) / across), note)
    for position, (image, row) in enumerate(zip(chosen, probabilities, strict=False)):
        left, up = (position % across) * width + 0.15, top + (position // across) * height + 0.22
        tall, wide = image.shape[:2]
        size = (side * wide / max(tall, wide), side * tall / max(tall, wide))
        axes = canvas.axes(figure, left, up, *size)
        axes.set_axis_off()
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
        name = label(names[position], int((width - 0.3) / (TEXT * canvas.LETTER)))
        axes.text(0, 1 + 0.05 / size[1], name, fontsize=TEXT, fontweight="bold", transform=axes.transAxes)
        from_left = left + side + room
        axes = canvas.axes(figure, from_left, up, (position % across + 1) * width - from_left - 0.55, bars)
        bars_of_one(axes, row, said, None if truths is None else int(truths[position]))
    return figure


def bars_of_one(axes: "canvas.Axes", probabilities: Array, names: Sequence[str], truth: int | None) -> None:
    """Draw the probabilities (K,) of an image as bars, coloured as in `predictions`."""
    best = int(np.argmax(probabilities))
    colours = [BLUE] * len(names)
    colours[best] = GREEN if truth in (None, best) else VERMILION
    drawn = axes.barh(range(len(names)), 100 * probabilities, height=0.75, color=colours)
    shares = [f"{100 * probability:.1f} %" for probability in probabilities]
    texts = axes.bar_label(drawn, shares, fontsize=SMALL, padding=3)
    texts[best].set_fontweight("bold")
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 100), xticks=(0, 50, 100))
    axes.set_xlabel("probability (%)", fontsize=SMALL, labelpad=1)
    axes.tick_params("x", labelsize=SMALL, length=2, pad=1)
    axes.tick_params("y", labelsize=SMALL, length=0, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    if truth is not None:
        axes.get_yticklabels()[truth].set(color=GREEN, fontweight="bold")
