"""A picture of the reasons for a network's answer for one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlplab.plots import canvas
from mlplab.plots.canvas import GREEN, SMALL, TEXT, VERMILION, label
from mlplab.plots.image_grid import Array, Mosaic, shown
from mlplab.plots.predictions import bars_of_one

MOST_BARS = 12  # classes; of more, the most probable
SIDE, LEFT, MIDDLE, RIGHT, BAR = 1.4, 0.15, 3.8, 5.25, 6.72  # inches: an image, and where the columns begin
BETWEEN, BELOW = 0.62, 0.6  # inches between the two rows, and below the second with what is above the first
MARGIN = 0.25  # inches above the first row and below the neighbours
LETTERS = 21  # of a text above an image


@dataclass(frozen=True)
class Reasons:
    """The reasons for an answer, as arrays."""

    image: Array  # (C, H, W) uint8
    probabilities: Array  # (K,)
    truth: int | None
    classes: Sequence[int]  # the first two, or the only one
    attributions: Array  # (2, C, H, W), the pixels for and against them
    neighbours: Array  # (k, C, H, W) uint8, the nearest training images; none without the data
    labels: Sequence[int]  # (k,), their classes
    numbers: Sequence[int]  # (k,), among all training images
    changed: Array | None  # (C, H, W) uint8 with another answer; None if none was found
    new: int = 0  # this answer
    new_probability: float = 0.0


def explanation(reasons: Reasons, names: Sequence[str], title: str, about: str) -> "canvas.Figure":
    """Draw the image, its probabilities, the pixels for the first two classes, its neighbours and a change.

    Args:
        reasons: of the answer for one image.
        names: of the K classes.
        title, about: of the page; run, data and figure, and more of it.
    """
    said = [label(name, 12) for name in names]
    top = canvas.top(about) + 0.2
    neighbours = shown(reasons.neighbours)
    mosaic = None
    if len(neighbours):
        mosaic = Mosaic.of(neighbours, columns=5, width=MIDDLE - LEFT - 0.1, below=0.28, between=0.13)
    below = max(SIDE + BELOW, mosaic.height + MARGIN if mosaic else 0.0)
    figure = canvas.page(title, SIDE + BETWEEN + below, about)
    _image(figure, LEFT, top, "input", reasons.image)
    _bars(figure, top, reasons, said)
    limit = float(np.abs(reasons.attributions.sum(axis=1)).max()) or 1.0
    for left, k, values in zip((MIDDLE, RIGHT), reasons.classes, reasons.attributions, strict=False):
        drawn = _image(figure, left, top, f"for {said[k]}", values.sum(axis=0), **_diverging(limit))
    canvas.colorbar(figure, drawn, BAR, top, SIDE, "input times gradient")
    top += SIDE + BETWEEN
    _title_of_neighbours(figure, top, reasons, said)
    if mosaic is not None:
        _neighbours(mosaic, mosaic.draw(figure, neighbours, LEFT, top), reasons, said)
    _change(figure, top, reasons, said)
    return figure


def _image(
    figure: "canvas.Figure", left: float, top: float, text: str, image: Array, **colours: Any
) -> "canvas.AxesImage":
    """Draw an image (C, H, W), or values (H, W), below a text."""
    pixels = image if image.ndim == 2 else shown(image[None])[0]
    height, width = (SIDE * side / max(pixels.shape[:2]) for side in pixels.shape[:2])
    axes = canvas.axes(figure, left, top, width, height)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=canvas.PALE, linewidth=0.6)
    axes.text(0, 1 + 0.05 / height, label(text, LETTERS), fontsize=TEXT, transform=axes.transAxes)
    colours = {"cmap": "gray", "vmin": 0, "vmax": 255, **colours}
    return axes.imshow(pixels, interpolation="nearest", aspect="auto", **colours)


def _diverging(limit: float) -> dict[str, Any]:
    return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}


def _bars(figure: "canvas.Figure", top: float, reasons: Reasons, said: Sequence[str]) -> None:
    shown = np.arange(len(said))
    if len(said) > MOST_BARS:
        shown = np.argsort(-reasons.probabilities, kind="stable")[:MOST_BARS]
    place = dict(zip(shown.tolist(), range(len(shown)), strict=True))
    names = [said[k] for k in shown.tolist()]
    left = LEFT + SIDE + 0.1 + max(map(len, names)) * SMALL * canvas.LETTER
    axes = canvas.axes(figure, left, top, MIDDLE - 0.6 - left, SIDE)
    truth = reasons.truth if reasons.truth is None else place.get(reasons.truth, -1)
    bars_of_one(axes, reasons.probabilities[shown], names, truth)


def _title_of_neighbours(figure: "canvas.Figure", top: float, reasons: Reasons, said: Sequence[str]) -> None:
    answer, count = reasons.classes[0], len(reasons.neighbours)
    same = sum(k == answer for k in reasons.labels)
    text = f"nearest training images: {same} of {count} are {said[answer]}" if count else "no training images here"
    canvas.write(figure, LEFT, top - 0.05, text, fontsize=TEXT)


def _neighbours(mosaic: Mosaic, image: "canvas.AxesImage", reasons: Reasons, said: Sequence[str]) -> None:
    """Write class and number of each neighbour: green if it is of the class of the answer."""
    answer = reasons.classes[0]
    for is_same, colour in ((True, GREEN), (False, VERMILION)):
        is_shown = [(k == answer) == is_same for k in reasons.labels]
        of_classes = [said[k] * shown for k, shown in zip(reasons.labels, is_shown, strict=True)]
        numbers = [f"#{number}" * shown for number, shown in zip(reasons.numbers, is_shown, strict=True)]
        mosaic.name(image, of_classes, color=colour)
        mosaic.name(image, numbers, line=1, color=colour)


def _change(figure: "canvas.Figure", top: float, reasons: Reasons, said: Sequence[str]) -> None:
    if reasons.changed is None:
        canvas.write(figure, MIDDLE, top - 0.05, "no change found that flips the answer", fontsize=TEXT)
        return
    difference = reasons.changed.astype(np.int64) - reasons.image
    change, distance = difference.sum(axis=0), float(np.linalg.norm(difference / 255))  # (H, W)
    drawn = _image(
        figure, MIDDLE, top, f"change, L2 {distance:.3g}", change, **_diverging(float(np.abs(change).max()) or 1.0)
    )
    _image(figure, RIGHT, top, f"then {said[reasons.new]}, {100 * reasons.new_probability:.1f} %", reasons.changed)
    canvas.colorbar(figure, drawn, BAR, top, SIDE, "change in grey levels")
