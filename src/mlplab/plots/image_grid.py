"""A grid of images drawn as one image, which is many times faster than drawing each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlplab.plots import canvas

Array = npt.NDArray[Any]


def grey(images: Array) -> Array:
    """Average the colours of images (N, C, H, W) -> (N, H, W); images (N, H, W) stay as they are."""
    if images.ndim == 3:
        return images
    return images[:, 0] if images.shape[1] == 1 else images.mean(axis=1)


def shown(images: Array) -> Array:
    """Return images (N, C, H, W) as matplotlib draws them: (N, H, W, 3) of three colours, and `grey` otherwise."""
    return images.transpose(0, 2, 3, 1) if images.ndim == 4 and images.shape[1] == 3 else grey(images)


@dataclass(frozen=True)
class Mosaic:
    """Layout of images in rows of `columns`, from left to right and from top to bottom.

    Every pixel of an image is the same integer number of dots, so that all look equally large.
    """

    count: int
    columns: int
    shape: tuple[int, int]  # (H, W)
    gap: tuple[int, int]  # pixels of an image, below and to the right of each
    scale: float  # dots of the page for a pixel of an image; a whole number, unless the image is too large

    @classmethod
    def of(cls, images: Array, columns: int, width: float, below: float = 0.04, between: float = 0.04) -> Self:
        """Lay out `shown` images, in inches: total `width`, space `below` each row and `between` columns."""
        count, height_of_one, width_of_one = images.shape[:3]
        cell = width * canvas.DPI / columns  # dots
        least = cell / (width_of_one + 1)  # with one pixel between
        scale = min((cell - between * canvas.DPI) / width_of_one, least)
        scale = math.floor(scale) if scale >= 1 else scale
        gap = math.ceil(below * canvas.DPI / scale), int(cell / scale) - width_of_one
        return cls(count, columns, (height_of_one, width_of_one), gap, scale)

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the whole, with the space below the last row."""
        height, width = (side + gap for side, gap in zip(self.shape, self.gap, strict=True))
        return math.ceil(self.count / self.columns) * height, min(self.count, self.columns) * width - self.gap[1]

    @property
    def height(self) -> float:
        """Height in inches."""
        return self.pixels[0] * self.scale / canvas.DPI

    @property
    def width(self) -> float:
        return self.pixels[1] * self.scale / canvas.DPI

    @property
    def full_width(self) -> float:
        """Width of a full row, even if no row is full."""
        return (self.columns * (self.shape[1] + self.gap[1]) - self.gap[1]) * self.scale / canvas.DPI

    def corner(self, position: int) -> tuple[int, int]:
        """Find row and column of the upper left pixel of an image."""
        row, column = divmod(position, self.columns)
        return row * (self.shape[0] + self.gap[0]), column * (self.shape[1] + self.gap[1])

    def assembled(self, images: Array) -> Array:
        """Put images into one image: (N, H, W) with NaN between them, (N, H, W, 3) as RGBA, transparent there."""
        whole = np.full((*self.pixels, *images.shape[3:]), np.nan, dtype=np.float32)
        for position, image in enumerate(images):
            top, left = self.corner(position)
            whole[top : top + self.shape[0], left : left + self.shape[1]] = image
        if images.ndim == 3:
            return whole
        opaque = 255 * ~np.isnan(whole[..., :1])
        return np.concatenate([np.nan_to_num(whole), opaque], axis=2).astype(np.uint8)

    def draw(
        self, figure: "canvas.Figure", images: Array, left: float, top: float, **colours: Any
    ) -> "canvas.AxesImage":
        """Draw at inches from the upper left corner of the page; `colours` are imshow's, by default grey, 0 to 255."""
        axes = canvas.axes(figure, left, top, self.width, self.height)
        axes.set_axis_off()
        colours = {"cmap": "gray", "vmin": 0, "vmax": 255, **colours}
        return axes.imshow(self.assembled(images), interpolation="nearest", aspect="auto", **colours)

    def name(self, image: "canvas.AxesImage", texts: Sequence[str], line: int = 0, **style: Any) -> None:
        """Write a centred text below each image; none where it is empty."""
        size = style.setdefault("fontsize", canvas.SMALL)
        below = (0.03 + line * size * 1.2 / 72) * canvas.DPI / self.scale - 0.5
        for position, text in enumerate(texts):
            if not text:
                continue
            top, left = self.corner(position)
            x, y = left + (self.shape[1] - 1) / 2, top + self.shape[0] + below
            image.axes.text(x, y, text, ha="center", va="top", **style)
