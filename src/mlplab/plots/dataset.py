"""Pictures of a data set: images, class counts and pixel values."""

from collections.abc import Sequence

import numpy as np

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, ORANGE, SMALL, TEXT, label
from mlplab.plots.image_grid import Array, Mosaic, grey, shown

ACROSS = 10  # images of a class
LARGEST_PAGE, LARGEST_CELL = 10.5, 0.55  # inches


def examples(images: Array, labels: Array, classes: Sequence[str], name: str) -> "canvas.Figure":
    """Draw a row for each class with its first 10 of images (N, H, W) or (N, C, H, W)."""
    size = shown(images[:1]).shape[1:]
    blank = np.full((len(classes), ACROSS, *size), np.nan, dtype=np.float32)
    for k in range(len(classes)):
        rows = np.flatnonzero(labels == k)[:ACROSS]
        blank[k, : len(rows)] = shown(images[rows])
    cells = blank.reshape(-1, *size)
    names = [label(one, 18) for one in classes]
    left = 0.3 + max(map(len, names)) * (TEXT + 1) * canvas.LETTER
    mosaic = Mosaic.of(cells, ACROSS, width=canvas.WIDTH - left - 0.1)
    figure = canvas.page(f"{name}, training images of each class", mosaic.height + 0.05)
    image = mosaic.draw(figure, cells, left, canvas.TITLE_HEIGHT)
    assert image.axes is not None
    for k, of_class in enumerate(names):
        top, _ = mosaic.corner(k * ACROSS)
        away = 0.08 * canvas.DPI / mosaic.scale
        image.axes.text(-away, top + (mosaic.shape[0] - 1) / 2, of_class, fontsize=TEXT + 1, ha="right", va="center")
    return figure


def pixels(image: Array, title: str) -> "canvas.Figure":
    """Draw an image (H, W) or (C, H, W) with the value of each pixel written into it."""
    values = grey(image[None])[0]
    height, width = values.shape
    cell = min(LARGEST_CELL, (LARGEST_PAGE - 0.55) / width)
    page_width = max(canvas.WIDTH / 2, cell * width + 0.55)
    figure = canvas.page(title, cell * height + 0.43, width=page_width)
    axes = canvas.axes(figure, 0.4, canvas.TITLE_HEIGHT + 0.28, cell * width, cell * height)
    axes.imshow(values, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    size = min(9.0, cell * 72 / 2.4)
    for (row, column), value in np.ndenumerate(values):
        colour = "#8a8a8a" if value == 0 else "white" if value < 128 else "black"
        axes.text(column, row, f"{value:.0f}", fontsize=size, color=colour, ha="center", va="center")
    axes.xaxis.tick_top()
    axes.set(xticks=range(width), yticks=range(height))
    axes.tick_params(length=0, labelsize=size, labelcolor="#444444", pad=2)
    axes.set_xticks(np.arange(0.5, width - 1), minor=True)
    axes.set_yticks(np.arange(0.5, height - 1), minor=True)
    axes.grid(which="minor", color="#555555", linewidth=0.3)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("column", fontsize=TEXT, labelpad=3)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("row", fontsize=TEXT, labelpad=3)
    return figure


def counts(train_labels: Array, test_labels: Array, classes: Sequence[str], name: str) -> "canvas.Figure":
    """Draw the number of images of each class as bars."""
    names = [label(one, 18) for one in classes]
    left = 0.6 + max(map(len, names)) * (TEXT + 1) * canvas.LETTER
    height = 0.36 * len(names) + 0.1
    figure = canvas.page(f"{name}, number of images of each class", height + 0.45)
    axes = canvas.axes(figure, left, canvas.TITLE_HEIGHT, canvas.WIDTH - left - 0.3, height)
    places = np.arange(len(names))
    parts = (("training", train_labels, BLUE, -0.2), ("test", test_labels, ORANGE, 0.2))
    for part, of_part, colour, shift in parts:
        found = np.bincount(of_part, minlength=len(names))
        bars = axes.barh(places + shift, found, height=0.36, color=colour, label=f"{part}: {len(of_part):,}")
        axes.bar_label(bars, [f"{count:,}" for count in found], fontsize=SMALL, padding=3)
    axes.set_yticks(places, names)
    axes.set(xlabel="images", ylabel="class", ylim=(len(names) - 0.5, -0.5))
    axes.margins(x=0.09)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    canvas.style(axes, "x")
    axes.tick_params("y", length=0, labelsize=TEXT + 1)
    axes.spines["left"].set_visible(False)
    figure.legend(loc="upper right", ncols=2, fontsize=TEXT + 1, frameon=False)
    return figure


def means(images: Array, labels: Array, classes: Sequence[str], name: str) -> "canvas.Figure":
    """Draw the mean of all images (N, H, W) or (N, C, H, W) of each class."""
    flat = grey(images)
    shown = np.full((len(classes), *flat.shape[1:]), np.nan)
    for k in range(len(classes)):
        if (labels == k).any():
            shown[k] = flat[labels == k].mean(axis=0, dtype=np.float64)
    mosaic = Mosaic.of(shown, columns=5, width=6.5, below=0.24, between=0.2)
    figure = canvas.page(f"{name}, mean training image of each class", mosaic.height + 0.05)
    image = mosaic.draw(figure, shown, 0.15, canvas.TITLE_HEIGHT)
    mosaic.name(image, [label(one, 18) for one in classes], fontsize=TEXT + 1)
    left = 0.15 + mosaic.width + 0.15
    canvas.colorbar(figure, image, left, canvas.TITLE_HEIGHT, mosaic.height - 0.24, "mean pixel value")
    return figure


def histogram(images: Array, name: str) -> "canvas.Figure":
    """Draw a histogram of the 256 pixel values of images uint8 of any shape."""
    found = np.bincount(images.ravel(), minlength=256)
    figure = canvas.page(f"{name}, values of all pixels of the training images", 2.42)
    axes = canvas.axes(figure, 0.75, canvas.TITLE_HEIGHT, canvas.WIDTH - 0.95, 1.9)
    axes.bar(np.arange(256), found, width=1, color=BLUE, linewidth=0)
    axes.set(xlim=(-3, 258), xticks=[0, 32, 64, 96, 128, 160, 192, 224, 255], yscale="log")
    axes.set_ylim(bottom=0.7)
    axes.set(xlabel="pixel value, from 0 (black) to 255 (white)", ylabel="pixels (log scale)")
    canvas.style(axes, "y")
    return figure
