"""A picture of the images that just one of two networks classifies correctly."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, SMALL, TEXT, VERMILION, label
from mlplab.plots.image_grid import Array, Mosaic, shown

MOST, ACROSS, HEADING = 16, 8, 0.25  # images of a side, those in a row, and inches above a side


@dataclass(frozen=True)
class OneSided:
    """Images that one network classifies correctly, and the other one does not."""

    heading: str
    images: Array  # (N, C, H, W) uint8
    truths: Sequence[int]  # (N,)
    mistakes: Sequence[int]  # (N,), the answer of the network that is wrong
    numbers: Sequence[int]  # (N,), in the data set


def comparison(sides: Sequence[OneSided], classes: Sequence[str], title: str, note: str) -> "canvas.Figure":
    """Draw the first 16 images of each side, with true class, number and the wrong answer."""
    mosaics = [_mosaic(side) for side in sides]
    heights = [HEADING + (mosaic.height if mosaic else 0.2) for mosaic in mosaics]
    figure = canvas.page(title, sum(heights) + 0.05, note)
    top = canvas.top(note)
    for side, mosaic, inches in zip(sides, mosaics, heights, strict=True):
        canvas.write(figure, 0.15, top + 0.05, label(side.heading, 100), fontsize=TEXT + 1, va="top")
        if mosaic is not None:
            _draw(figure, mosaic, top + HEADING, side, classes)
        top += inches
    return figure


def _mosaic(side: OneSided) -> Mosaic | None:
    images = shown(side.images[:MOST])
    return Mosaic.of(images, ACROSS, canvas.WIDTH - 0.3, below=0.45, between=0.1) if len(images) else None


def _draw(figure: "canvas.Figure", mosaic: Mosaic, top: float, side: OneSided, classes: Sequence[str]) -> None:
    image = mosaic.draw(figure, shown(side.images[:MOST]), 0.15, top)
    of_class = [label(name, 14) for name in classes]
    mosaic.name(image, [f"#{number}" for number in side.numbers[:MOST]], fontsize=SMALL)
    mosaic.name(image, [of_class[k] for k in side.truths[:MOST]], line=1, color=BLUE, fontsize=SMALL)
    mosaic.name(image, [of_class[k] for k in side.mistakes[:MOST]], line=2, color=VERMILION, fontsize=SMALL)
