"""A picture of a network's predictions."""

import math
from collections.abc import Sequence

import numpy as np

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREEN, SMALL, TEXT, VERMILION, label
from mlplab.plots.image_grid import Array, grey

MOST = 200  # images; more would exceed the height of a PNG


def predictions(
    images: Array,
    probabilities: Array,
    classes: Sequence[str],
    names: Sequence[str],
    truths: Sequence[int] | None = None,
    title: str = "predictions",
) -> "canvas.Figure":
    """Draw the first 200 of images (N, H, W) or (N, C, H, W) uint8, each beside its `probabilities` (N, K).

    Args:
        names: a line above each image.
        truths: the class of each image, if known: its name is green, a wrong prediction is red-orange.
    """
    shown = grey(images[:MOST])
    across = min(2, len(shown))
    width = canvas.WIDTH / across
    said = [label(name, 18) for name in classes]
    room = max(map(len, said)) * SMALL * canvas.LETTER + 0.08  # for the names of the classes
    bars = max(len(classes) * 0.125 * (2 if across == 1 else 1), 0.7)
    side = min(2.5 / across, bars)
    height = bars + 0.72
    more = f"the first {MOST} of {len(images):,} images" if len(images) > MOST else ""
    top = canvas.NOTE_HEIGHT if more else canvas.TITLE_HEIGHT
    figure = canvas.page(title, height * math.ceil(len(shown) / across), more)
    for position, (image, row) in enumerate(zip(shown, probabilities, strict=False)):
        left, up = (position % across) * width + 0.15, top + (position // across) * height + 0.22
        tall, wide = image.shape
        size = (side * wide / max(tall, wide), side * tall / max(tall, wide))
        axes = canvas.axes(figure, left, up, *size)
        axes.set_axis_off()
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
        name = label(names[position], int((width - 0.3) / (TEXT * canvas.LETTER)))
        axes.text(0, 1 + 0.05 / size[1], name, fontsize=TEXT, fontweight="bold", transform=axes.transAxes)
        from_left = left + side + room
        axes = canvas.axes(figure, from_left, up, (position % across + 1) * width - from_left - 0.55, bars)
        best = int(np.argmax(row))
        true = best if truths is None else int(truths[position])
        colours = [BLUE] * len(said)
        colours[best] = GREEN if best == true else VERMILION
        drawn = axes.barh(range(len(said)), 100 * row, height=0.75, color=colours)
        texts = axes.bar_label(drawn, [f"{100 * probability:.1f} %" for probability in row], fontsize=SMALL, padding=3)
        texts[best].set_fontweight("bold")
        axes.set_yticks(range(len(said)), said)
        axes.set(ylim=(len(said) - 0.5, -0.5), xlim=(0, 100), xticks=(0, 50, 100))
        axes.set_xlabel("probability (%)", fontsize=SMALL, labelpad=1)
        axes.tick_params("x", labelsize=SMALL, length=2, pad=1)
        axes.tick_params("y", labelsize=SMALL, length=0, pad=2)
        axes.spines[["top", "right"]].set_visible(False)
        if truths is not None:
            axes.get_yticklabels()[true].set(color=GREEN, fontweight="bold")
    return figure
