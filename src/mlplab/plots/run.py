"""Pictures of a run: curves, confusion matrix, mistakes, first layer, training images."""

from collections.abc import Mapping, Sequence

import numpy as np

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREY, ORANGE, TEXT, VERMILION, label
from mlplab.plots.image_grid import Array, Mosaic, grey, shown

MOST_MISTAKES, MOST_UNITS, MOST_IMAGES = 24, 64, 20
MOST_MARKED = 60  # epochs, beyond which the markers of a curve would cover it
DARK = 0.55  # position in a light-to-dark colour map above which text is white


def curves(
    history: Sequence[Mapping[str, float]], best_epoch: int | None, title: str, about: str = ""
) -> "canvas.Figure":
    """Draw loss and accuracy by epoch; metrics that an epoch lacks are left out.

    `best_epoch` is None unless validation chose it.
    """
    from matplotlib.ticker import MaxNLocator

    note = _note("loss and accuracy by epoch", about)
    figure = canvas.page(title, 2.9, note)
    epochs = [epoch.get("epoch", position) for position, epoch in enumerate(history, 1)]
    shown = {}
    panels = {"loss": ("loss (cross-entropy)", 1), "acc": ("accuracy (%)", 100)}
    for place, (metric, (says, factor)) in enumerate(panels.items()):
        axes = canvas.axes(figure, 0.95 + place * 3.72, canvas.top(note) + 0.1, 2.72, 2.05)
        for split, name, colour, style in (("train", "training", BLUE, "--"), ("val", "validation", ORANGE, "-")):
            found = zip(epochs, [epoch.get(f"{split}/{metric}") for epoch in history], strict=True)
            points = [(epoch, factor * value) for epoch, value in found if value is not None]
            if points:
                xs, ys = zip(*points, strict=True)
                size, marker = 5 if len(points) == 1 else 2.5, "o" if len(points) <= MOST_MARKED else ""
                (line,) = axes.plot(xs, ys, style, color=colour, marker=marker, markersize=size, linewidth=1.3)
                shown[name] = line
        if not axes.get_lines():
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=GREY)
        elif best_epoch is not None:
            shown[f"best epoch: {best_epoch}"] = axes.axvline(best_epoch, color="#555555", linewidth=1, linestyle=":")
        axes.set_ylabel(says)
        canvas.epochs(axes, max(epochs, default=1))
        canvas.style(axes, "both")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    figure.legend([*shown.values()], [*shown], loc="lower center", ncols=3, fontsize=TEXT + 1, frameon=False)
    return figure


def _note(what: str, about: str) -> str:
    return ", ".join(filter(None, (what, about)))


def confusion(matrix: Array, classes: Sequence[str], title: str, about: str = "") -> "canvas.Figure":
    """Draw a confusion matrix (K, K): true class by row, predicted class by column.

    Mistakes are coloured by their share of the images of the true class; correct cells are not coloured, because they
    would hide the rest.
    """
    names = [label(name, 18) for name in classes]
    longest = max(map(len, names)) * TEXT * canvas.LETTER
    slanted = longest > 5 / len(names)
    note = _note("confusion matrix", about)
    left, top, below = 0.6 + longest, canvas.top(note), 0.45 + (0.75 * longest if slanted else 0.1)
    side = 6.3 - left
    cell = side / len(names)
    height = min(side, max(1.5, 0.42 * len(names)))
    figure = canvas.page(title, height + below, note)
    axes = canvas.axes(figure, left, top, side, height)
    counts = np.asarray(matrix)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (K, K) in percent
    np.fill_diagonal(shares, np.nan)
    worst = float(np.nanmax(shares)) if len(names) > 1 else 0.0
    axes.set_facecolor("#e4e4e4")  # of correct cells
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=worst or 1, aspect="auto", interpolation="nearest")
    size = min(TEXT + 0.5, cell * 72 / (0.62 * max(3, len(str(counts.max())))))
    for row, column in np.argwhere(counts):  # a cell without a number has none
        is_dark = row != column and shares[row, column] > DARK * worst
        colour, weight = "white" if is_dark else "black", "bold" if row == column else "normal"
        text = str(counts[row, column])
        axes.text(column, row, text, fontsize=size, color=colour, fontweight=weight, ha="center", va="center")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    if slanted:
        canvas.slant(axes)
    canvas.style(axes)
    axes.tick_params(length=2, pad=2, labelsize=min(TEXT, 0.9 * 72 * height / len(names)))  # of 62 classes, too
    axes.set(xlabel="predicted class", ylabel="true class")
    canvas.colorbar(figure, image, left + side + 0.15, top, height, "mistakes: share of the true class (%)")
    return figure


def mistakes(
    images: Array,
    labels: Array,
    predicted: Array,
    probabilities: Array,
    classes: Sequence[str],
    title: str,
    indices: Sequence[int],
    about: str = "",
    number: str = "number",
) -> "canvas.Figure":
    """Draw the first 24 of images (N, H, W) or (N, C, H, W) uint8, with their `indices` in the data set.

    `probabilities` (N,) are of the predicted classes; `number` says what the indices are for.
    """
    worst, note = shown(images[:MOST_MISTAKES]), _note("most confident mistakes", about)
    if not len(worst):
        return canvas.page(title, 0.42, f"{note}\nThere is none: every image was classified correctly.")
    mosaic = Mosaic.of(worst, columns=6, width=canvas.WIDTH - 0.2, below=0.34, between=0.3)
    note += f"\nblack: true class and {number}; orange: answer and its probability"
    figure = canvas.page(title, mosaic.height + 0.08, note)
    image = mosaic.draw(figure, worst, (canvas.WIDTH - mosaic.full_width) / 2, canvas.top(note))
    of_shown = zip(labels[: len(worst)], predicted, probabilities, indices, strict=False)
    truths, answers = [], []
    for true, said, probability, index in of_shown:
        percent = min(99.9, 100 * float(probability)) if probability < 1 else 100  # 100.0 only if it is exact
        truths.append(f"{label(classes[int(true)], 12)} #{index}")
        answers.append(f"{label(classes[int(said)], 16)}, {percent:.1f} %")
    mosaic.name(image, truths, fontsize=TEXT)
    mosaic.name(image, answers, line=1, fontsize=TEXT, color=VERMILION)
    return figure


def first_layer(
    weights: Array, image_shape: tuple[int, int, int], title: str, names: Sequence[str] | None = None, about: str = ""
) -> "canvas.Figure":
    """Draw weights (units, C*H*W) of up to 64 units, those with the largest norm, as images of `image_shape`.

    If the units have `names`, like the classes of a network without hidden layers, all are shown in their order.
    """
    norms = np.linalg.norm(weights, axis=1)
    order = np.argsort(-norms, kind="stable")[:MOST_UNITS] if names is None else np.arange(len(names))
    shown = grey(weights[order].reshape(-1, *image_shape))
    columns = min(11, max(5, len(shown)) if names is None else 5)
    mosaic = Mosaic.of(shown, columns, width=6.2, below=0.04 if names is None else 0.19)
    height = max(mosaic.height, 1.4)
    note = f"{_note('first layer', about)}\nweight of each pixel in {_which(len(shown), len(weights), names)}"
    figure = canvas.page(title, height + 0.12, note)
    limit = float(np.abs(shown).max()) or 1.0
    image = mosaic.draw(figure, shown, 0.15, canvas.top(note), cmap="RdBu_r", vmin=-limit, vmax=limit)
    mosaic.name(image, [label(name, 14) for name in names or ()])
    canvas.colorbar(figure, image, 0.15 + mosaic.width + 0.12, canvas.top(note), height - 0.04, "weight")
    return figure


def _which(shown: int, units: int, names: Sequence[str] | None) -> str:
    if names is not None:
        return "the score of each class"
    return f"{f'all {units:,}' if shown == units else f'the {shown} of {units:,}'} units; the largest come first"


def training_images(
    originals: Array, seen: Array, labels: Array, classes: Sequence[str], title: str
) -> "canvas.Figure":
    """Draw the first 20 of images (N, H, W) or (N, C, H, W): uint8 as stored, and floats as the network gets them."""
    stored, given = grey(originals[:MOST_IMAGES]), grey(seen[:MOST_IMAGES])
    mosaic = Mosaic.of(stored, columns=4, width=3.3, below=0.19, between=0.15)
    height = max(mosaic.height, 1.2)
    note, left = "the first training images: on the left as stored, on the right as the network sees them", 3.55
    top = canvas.top(note)
    figure = canvas.page(title, height + 0.05, note)
    low, high = float(given.min()), float(given.max())
    sides = [
        mosaic.draw(figure, stored, 0.15, top),
        mosaic.draw(figure, given, left, top, vmin=low, vmax=high if high > low else low + 1),
    ]
    for side in sides:
        mosaic.name(side, [label(classes[int(k)], 14) for k in labels[: len(stored)]])
    beside = left + mosaic.full_width + 0.15
    canvas.colorbar(figure, sides[1], beside, top, height - 0.19, "number that the network gets")
    return figure
