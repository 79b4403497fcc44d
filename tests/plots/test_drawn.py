"""Contents of the pictures: texts, bars, lines and pixels, read from the figures."""

import io
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mlplab.config.datasets import IDX_DATASETS
from mlplab.plots import canvas, comparison, dataset, explanation, predictions, run
from mlplab.plots.image_grid import Mosaic, shown

DIGITS, FASHION = (IDX_DATASETS[name].classes for name in ("mnist", "fashion"))
THREE = ("a", "a rather long name of a class", "c")
random = np.random.default_rng(0)


def images(count: int, height: int = 28, width: int = 28) -> Any:
    return random.integers(0, 256, (count, height, width), dtype=np.uint8)


def texts(of: Figure | Axes) -> list[str]:
    """Return all texts, in the order in which they were drawn."""
    found = of.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return [text.get_text() for text in found if text.get_text()]


def heading(figure: Figure) -> list[str]:
    """Return the title of a page, and its note."""
    return [text.get_text() for text in figure.texts]


class Cell:
    """An image of a mosaic, and the text below it."""

    def __init__(self, axes: Axes, pixels: Any, rows: tuple[int, int], columns: tuple[int, int], next_top: int) -> None:
        self.image = pixels[slice(*rows), slice(*columns)]
        middle = (sum(columns) - 1) / 2
        self.words = [
            text.get_text()
            for text in axes.texts
            if abs(text.get_position()[0] - middle) < 1 and rows[1] - 1 < text.get_position()[1] < next_top
        ]


def cells(axes: Axes) -> list[Cell]:
    """Return the cells row by row: the parts of the axes' only image that are not NaN."""
    (image,) = axes.get_images()
    pixels = np.ma.filled(image.get_array(), np.nan)
    filled = ~np.isnan(pixels)
    bands = stretches(filled.any(axis=1))
    next_tops = [top for top, _ in bands[1:]] + [len(pixels)]
    return [
        Cell(axes, pixels, rows, columns, next_top)
        for rows, next_top in zip(bands, next_tops, strict=True)
        for columns in stretches(filled[slice(*rows)].any(axis=0))
    ]


def stretches(flags: Any) -> list[tuple[int, int]]:
    """Return start and end of each stretch of set flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return list(zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True))


def shows(axes: Axes, expected: Sequence[Any]) -> bool:
    """Tell whether the cells show these images, in this order."""
    found = cells(axes)
    return len(found) == len(expected) and all(
        np.allclose(cell.image, image, rtol=1e-5, atol=1e-3) for cell, image in zip(found, expected, strict=True)
    )


HISTORY = [
    {"epoch": k, "train/loss": 1 / k, "val/loss": 0.5 / k, "train/acc": 0.9 + 0.01 * k, "val/acc": 0.91}
    for k in (1, 2, 3)
]


def figures_of(loss: float, acc: float) -> dict[str, float]:
    return {"train/loss": loss, "val/loss": 1.1 * loss, "train/acc": acc, "val/acc": acc}


def test_curves_are_the_history_with_accuracy_in_percent() -> None:
    figure = run.curves(HISTORY, 2, "digits, 64-10, test 97.00 %", "run a")
    assert heading(figure) == ["digits, 64-10, test 97.00 %", "loss and accuracy by epoch, run a"]
    loss, acc = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (cross-entropy)", "accuracy (%)"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    for axes, metric, factor in ((loss, "loss", 1), (acc, "acc", 100)):
        training, validation, best = axes.get_lines()
        for line, split in ((training, "train"), (validation, "val")):
            assert list(line.get_xdata()) == [1, 2, 3]
            assert list(line.get_ydata()) == pytest.approx([factor * epoch[f"{split}/{metric}"] for epoch in HISTORY])
        assert set(best.get_xdata()) == {2}
        assert training.get_color() != validation.get_color()
        assert training.get_linestyle() != validation.get_linestyle()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation", "best epoch: 2"]


@pytest.mark.parametrize("best", [None, 1])
def test_curves_without_validation_or_of_one_epoch(best: int | None) -> None:
    figure = run.curves([{"epoch": 1, "train/loss": 0.3, "train/acc": 0.9}], best, "title")
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        line, *rest = axes.get_lines()
        assert len(rest) == (best is not None)
        assert line.get_marker() == "o"
        assert [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]] == [1]
    assert "validation" not in texts(figure)


@pytest.mark.parametrize(("epochs", "marker"), [(2, "o"), (60, "o"), (61, ""), (1000, "")])
def test_axes_begin_at_epoch_1_and_long_curves_have_no_markers(epochs: int, marker: str) -> None:
    history = [{"epoch": k, "train/loss": 1 / k, "train/acc": 1 - 1 / k} for k in range(1, epochs + 1)]
    figure = run.curves(history, None, "title")
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = list(axes.get_xticks())
        assert 0 < low < 1 == ticks[0]
        assert ticks[-1] <= epochs < high
        assert all(tick == int(tick) for tick in ticks)
        assert [line.get_marker() for line in axes.get_lines()] == [marker]
    assert not any(text.startswith("best epoch") for text in texts(figure))


def test_curves_of_seldom_validation_have_points_where_there_are_some() -> None:
    figure = run.curves([HISTORY[0], {"epoch": 2, "train/loss": 0.2, "train/acc": 0.9}, HISTORY[2]], 3, "title")
    assert list(figure.axes[0].get_lines()[1].get_xdata()) == [1, 3]


MATRIX = np.array([[50, 3, 0], [0, 40, 10], [7, 0, 0]])


def test_the_confusion_matrix_has_each_count_in_its_cell() -> None:
    figure = run.confusion(MATRIX, THREE, "a title", "test images")
    axes = figure.axes[0]
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert written == {(i, j): str(MATRIX[i, j]) for i, j in np.ndindex(3, 3) if MATRIX[i, j]}
    (image,) = axes.get_images()
    shares = np.ma.filled(image.get_array(), np.nan)
    expected = np.array([[np.nan, 3 / 53, 0], [0, np.nan, 10 / 50], [1, 0, np.nan]]) * 100
    assert np.allclose(shares, expected, equal_nan=True)
    assert image.get_clim() == (0, 100)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    names = [canvas.label(name, 18) for name in THREE]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == names
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names
    bar = figure.axes[1]
    assert " ".join(bar.get_ylabel().split()) == "mistakes: share of the true class (%)"
    assert bar.yaxis.label.get_window_extent().height <= bar.get_window_extent().height
    assert heading(figure) == ["a title", "confusion matrix, test images"]


@pytest.mark.parametrize("matrix", [np.diag([5] * 3), np.zeros((3, 3), dtype=int)])
def test_a_confusion_matrix_without_mistakes_can_be_drawn(matrix: Any) -> None:
    assert canvas.png(run.confusion(matrix, THREE, "title")).startswith(b"\x89PNG")


def test_mistakes_are_shown_with_what_is_true_and_what_is_said() -> None:
    shown, true, said = images(30), np.arange(30) % 10, (np.arange(30) + 3) % 10
    sure = np.linspace(0.9996, 0.5, 30)
    figure = run.mistakes(shown, true, said, sure, FASHION, "title", range(100, 130), "run a", "number for --test")
    (axes,) = figure.axes
    mentioned = "black: true class and number for --test; orange: answer and its probability"
    assert heading(figure) == ["title", f"most confident mistakes, run a\n{mentioned}"]
    assert shows(axes, shown[:24])
    for place, (cell, k, guess, share) in enumerate(zip(cells(axes), true, said, sure, strict=False), 100):
        assert cell.words == [f"{FASHION[k]} #{place}", f"{FASHION[guess]}, {min(99.9, 100 * share):.1f} %"]
    assert cells(axes)[0].words[1] == "Dress, 99.9 %"  # not 100.0: it is not certain
    figure = run.mistakes(shown[:0], true[:0], said[:0], sure[:0], DIGITS, "title", [])
    assert figure.axes == []
    assert heading(figure)[1] == "most confident mistakes\nThere is none: every image was classified correctly."


def test_the_units_with_the_largest_weights_come_first() -> None:
    weights = random.normal(size=(70, 64)) * np.arange(1, 71)[:, None]
    figure = run.first_layer(weights, (1, 8, 8), "title")
    largest = weights[np.argsort(-np.linalg.norm(weights, axis=1))[:64]]
    assert shows(figure.axes[0], largest.reshape(-1, 8, 8))
    (image,) = figure.axes[0].get_images()
    low, high = image.get_clim()
    assert -low == high == pytest.approx(np.abs(largest).max(), rel=1e-6)
    assert any("64 of 70 units" in text for text in texts(figure))
    figure = run.first_layer(random.normal(size=(3, 3 * 64)), (3, 8, 8), "title")
    assert any("all 3 units" in text for text in texts(figure))


def test_units_that_are_classes_keep_their_order_and_have_names() -> None:
    weights = random.normal(size=(10, 64)) * np.arange(1, 11)[:, None]
    axes = run.first_layer(weights, (1, 8, 8), "title", FASHION).axes[0]
    assert shows(axes, weights.reshape(-1, 8, 8))
    assert [cell.words for cell in cells(axes)] == [[canvas.label(name, 14)] for name in FASHION]


def test_training_images_are_beside_what_the_network_sees() -> None:
    originals = images(25)
    seen = (originals.astype(np.float32) - 33) / 78
    figure = run.training_images(originals, seen, np.arange(25) % 10, FASHION, "fashion, 784-10")
    assert "fashion, 784-10" in texts(figure)
    left, right, bar = figure.axes
    (given,) = right.get_images()
    assert shows(left, originals[:20])
    assert shows(right, seen[:20])
    assert given.get_clim() == (pytest.approx(seen[:20].min()), pytest.approx(seen[:20].max()))
    for axes in (left, right):
        assert [cell.words for cell in cells(axes)] == [[FASHION[k % 10]] for k in range(20)]
    assert bar.get_ylabel() == "number that the network gets"


def test_a_class_has_a_row_of_examples() -> None:
    shown, labels = images(40), np.repeat([0, 1, 2], [25, 12, 3])
    figure = dataset.examples(shown, labels, THREE, "fashion")
    assert "fashion, training images of each class" in texts(figure)
    (axes,) = figure.axes
    assert shows(axes, [*shown[:10], *shown[25:35], *shown[37:]])
    assert [text.get_text() for text in axes.texts] == [canvas.label(name, 18) for name in THREE]


def test_the_value_of_each_pixel_is_written_into_it() -> None:
    image = images(1, 16, 16)[0]
    axes = dataset.pixels(image, "title").axes[0]
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert written == {(i, j): str(image[i, j]) for i, j in np.ndindex(16, 16)}


def test_bars_are_as_long_as_a_class_has_images() -> None:
    train, test = random.integers(0, 3, 500), random.integers(0, 3, 70)
    (axes,) = dataset.counts(train, test, THREE, "fashion").axes
    widths = [round(bar.get_width()) for bar in axes.patches]
    assert widths == [*np.bincount(train, minlength=3), *np.bincount(test, minlength=3)]
    assert axes.get_xlabel() == "images"


def test_a_mean_image_is_the_mean_of_its_class() -> None:
    shown, labels = images(60, 8, 8), np.arange(60) % 3
    axes = dataset.means(shown, labels, THREE, "fashion").axes[0]
    assert shows(axes, [shown[labels == k].mean(axis=0) for k in range(3)])
    assert [cell.words for cell in cells(axes)] == [[canvas.label(name, 18)] for name in THREE]


def test_the_histogram_counts_pixels() -> None:
    shown = images(50)
    (axes,) = dataset.histogram(shown, "fashion").axes
    assert [round(bar.get_height()) for bar in axes.patches] == list(np.bincount(shown.ravel(), minlength=256))
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(("count", "known"), [(1, True), (3, False), (6, True)])
def test_predictions_are_bars_beside_each_image(count: int, known: bool) -> None:
    shown, probabilities = images(count), random.dirichlet([0.3] * 10, count)
    names = [f"image {k}" for k in range(count)]
    truths = [int(row.argmax() + k % 2) % 10 for k, row in enumerate(probabilities)]  # every second one is wrong
    figure = predictions.predictions(shown, probabilities, FASHION, names, truths if known else None)
    assert len(figure.axes) == 2 * count
    for k in range(count):
        picture, bars = figure.axes[2 * k : 2 * k + 2]
        (image,) = picture.get_images()
        assert np.array_equal(image.get_array(), shown[k])
        assert names[k] in texts(picture)
        assert [bar.get_width() for bar in bars.patches] == pytest.approx(list(100 * probabilities[k]))
        best = int(probabilities[k].argmax())
        colours = [canvas.BLUE] * 10
        colours[best] = canvas.VERMILION if known and k % 2 else canvas.GREEN
        assert [to_hex(bar.get_facecolor()).upper() for bar in bars.patches] == colours
        assert [tick.get_text() for tick in bars.get_yticklabels()] == list(FASHION)
        green = [tick.get_text() for tick in bars.get_yticklabels() if tick.get_color() == canvas.GREEN]
        assert green == ([FASHION[truths[k]]] if known else [])
        assert bars.get_xlabel() == "probability (%)"


def test_of_too_many_predictions_there_are_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST", 4)
    figure = predictions.predictions(images(5), np.full((5, 3), 1 / 3), THREE, list("abcde"))
    assert len(figure.axes) == 2 * 4
    assert any("the first 4 of 5 images" in text for text in texts(figure))


def reasons(names: Sequence[str], **changes: Any) -> explanation.Reasons:
    """Make up reasons for the answer that an image of the first class is of the second."""
    made = {
        "image": images(1),
        "probabilities": random.dirichlet([0.3] * len(names)),
        "truth": 0,
        "classes": (1, 0),
        "attributions": random.normal(size=(2, 1, 28, 28)),
        "neighbours": images(10)[:, None],
        "labels": [1] * 7 + [0] * 3,
        "numbers": list(range(50_000, 50_010)),
        "changed": images(1),
        "new": 2,
        "new_probability": 0.449,
    }
    return explanation.Reasons(**{**made, **changes})


def test_an_explanation_shows_what_it_is_given() -> None:
    given = reasons(FASHION)
    figure = explanation.explanation(given, FASHION, "title", "run a")
    assert heading(figure)[:2] == ["title", "run a"]
    shown, bars, first, second, bar, neighbours, change, changed, levels = figure.axes
    assert np.array_equal(shown.get_images()[0].get_array(), given.image[0])
    assert [patch.get_width() for patch in bars.patches] == pytest.approx(list(100 * given.probabilities))
    for axes, values, k in zip((first, second), given.attributions, given.classes, strict=True):
        (drawn,) = axes.get_images()
        assert np.allclose(drawn.get_array(), values[0])
        assert drawn.get_clim() == pytest.approx((-np.abs(given.attributions).max(), np.abs(given.attributions).max()))
        assert texts(axes)[0] == f"for {FASHION[k]}"
    assert bar.get_ylabel() == "input times gradient"
    assert shows(neighbours, given.neighbours[:, 0])
    words = [cell.words for cell in cells(neighbours)]
    assert words == [[FASHION[k], f"#{n}"] for k, n in zip(given.labels, given.numbers, strict=True)]
    colours = [text.get_color() for text in neighbours.texts if text.get_text().startswith("#")]
    assert sorted(colours) == sorted([canvas.GREEN] * 7 + [canvas.VERMILION] * 3)
    assert "nearest training images: 7 of 10 are Trouser" in texts(figure)
    difference = given.changed.astype(int) - given.image
    assert np.array_equal(change.get_images()[0].get_array(), difference[0])
    assert texts(change)[0] == f"change, L2 {np.sqrt(((difference / 255) ** 2).sum()):.3g}"
    assert np.array_equal(changed.get_images()[0].get_array(), given.changed[0])
    assert texts(changed)[0] == "then Pullover, 44.9 %"
    assert levels.get_ylabel() == "change in grey levels"


def test_an_explanation_without_neighbours_or_change_says_so() -> None:
    nothing = {"neighbours": images(0)[:, None], "labels": [], "numbers": [], "changed": None}
    figure = explanation.explanation(reasons(FASHION, **nothing), FASHION, "title", "run a")
    assert {"no training images here", "no change found that flips the answer"} <= set(texts(figure))
    assert len(figure.axes) == 5


def of_shape(*shape: int) -> explanation.Reasons:
    some = images(10, *shape)[:, None]
    of_one = {"image": some[0], "changed": some[1], "attributions": random.normal(size=(2, 1, *shape))}
    return reasons(FASHION, neighbours=some, **of_one)


def test_of_many_classes_the_most_probable_are_shown() -> None:
    names = [f"class {k}" for k in range(47)]
    given = reasons(names, truth=40)
    bars = explanation.explanation(given, names, "title", "run a").axes[1]
    order = np.argsort(-given.probabilities)[:12]
    assert [tick.get_text() for tick in bars.get_yticklabels()] == [names[k] for k in order]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(list(100 * given.probabilities[order]))


def one_sided(count: int, names: Sequence[str]) -> comparison.OneSided:
    truths = [k % len(names) for k in range(count)]
    mistakes = [(k + 1) % len(names) for k in range(count)]
    numbers = list(range(9_000, 9_000 + count))
    return comparison.OneSided(f"only 1 is right: {count} images", images(count)[:, None], truths, mistakes, numbers)


def test_a_comparison_shows_the_images_of_each_side() -> None:
    sides = [one_sided(20, FASHION), one_sided(3, FASHION)]
    figure = comparison.comparison(sides, FASHION, "title", "run a | run b")
    assert heading(figure)[:2] == ["title", "run a | run b"]
    for axes, side in zip(figure.axes, sides, strict=True):
        assert side.heading in texts(figure)
        assert shows(axes, side.images[:16, 0])
        for cell, *expected in zip(cells(axes), side.numbers, side.truths, side.mistakes, strict=False):
            assert cell.words == [f"#{expected[0]}", FASHION[expected[1]], FASHION[expected[2]]]
    nothing = comparison.comparison([one_sided(0, FASHION), sides[1]], FASHION, "title", "runs")
    assert len(nothing.axes) == 1


def test_an_image_of_a_mosaic_is_where_it_belongs() -> None:
    grey = images(7, 5, 4)
    mosaic = Mosaic.of(grey, columns=3, width=2.0)
    whole = mosaic.assembled(grey)
    for k, image in enumerate(grey):
        top, left = mosaic.corner(k)
        assert np.array_equal(whole[top : top + 5, left : left + 4], image)
    assert (~np.isnan(whole)).sum() == grey.size
    assert mosaic.scale == int(mosaic.scale)
    assert mosaic.width <= 2.0


def test_colours_stay_in_a_mosaic_which_is_transparent_between() -> None:
    colours = random.integers(0, 256, (7, 3, 5, 4), dtype=np.uint8)
    mosaic = Mosaic.of(shown(colours), columns=3, width=2.0)
    whole = mosaic.assembled(shown(colours))
    for k, image in enumerate(colours):
        top, left = mosaic.corner(k)
        cell = whole[top : top + 5, left : left + 4]
        assert np.array_equal(cell[..., :3].transpose(2, 0, 1), image)
        assert (cell[..., 3] == 255).all()
    assert (whole[..., 3] > 0).sum() == 7 * 5 * 4


def test_an_image_that_is_larger_than_its_place_is_made_smaller() -> None:
    mosaic = Mosaic.of(images(4, 2000, 2000), columns=2, width=2.0)
    assert mosaic.scale < 1
    assert mosaic.width <= 2.01


def test_a_png_has_the_size_of_the_page() -> None:
    content = canvas.png(canvas.figure(2.0))
    assert struct.unpack(">II", content[16:24]) == (canvas.WIDTH * canvas.DPI, 2.0 * canvas.DPI)
    with Image.open(io.BytesIO(content)) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_label_is_short_and_no_formula() -> None:
    assert canvas.label("$x$") == r"\$x\$"
    assert canvas.label("\N{SNOWMAN}") == "?"
    assert canvas.label("a\tb\n") == "a?b?"
    assert canvas.label("\N{LATIN SMALL LETTER Z WITH DOT ABOVE}\N{CYRILLIC SMALL LETTER KA}") == "\u017c\u043a"
    assert len(canvas.label("a" * 100, 20)) <= 20
    assert canvas.label("short", 20) == "short"


LONG = "fashion, 784-2500-2000-1500-1000-500-250-250-250-250-250-250-250-10, test 88.20 %"
RUN = "test images, weights of epoch 12, run hidden=512,optimizer=adam,max_epochs=20_1120-134153-7e20"
Pictures = dict[str, Callable[[Sequence[str]], Figure]]
WITHOUT_CLASSES: Pictures = {
    "curves": lambda _: run.curves(HISTORY, 2, LONG, RUN),
    "curves of one small loss": lambda _: run.curves([figures_of(0.00012, 0.90002)], 1, LONG, RUN),
    "curves close together": lambda _: run.curves(
        [figures_of(0.0512, 0.900025), figures_of(0.06, 0.90005)], 1, LONG, RUN
    ),
    "curves of large losses": lambda _: run.curves([figures_of(12345.6, 0.1), figures_of(67890.1, 1.0)], 1, LONG, RUN),
    "first_layer": lambda _: run.first_layer(random.normal(size=(512, 784)), (1, 28, 28), LONG, None, RUN),
    "smaller weights": lambda _: run.first_layer(0.003 * random.normal(size=(512, 784)), (1, 28, 28), LONG, None, RUN),
    "pixels": lambda _: dataset.pixels(images(1)[0], "training image 0"),
    "histogram": lambda _: dataset.histogram(images(20), "fashion"),
    "explanation of a small image": lambda _: explanation.explanation(of_shape(12, 10), FASHION, LONG, RUN),
    "explanation of a high image": lambda _: explanation.explanation(of_shape(40, 20), FASHION, LONG, RUN),
    "explanation of a wide image": lambda _: explanation.explanation(of_shape(10, 30), FASHION, LONG, RUN),
}
PICTURES: Pictures = {
    "confusion": lambda names: run.confusion(np.full((len(names),) * 2, 1234), names, LONG, RUN),
    "mistakes": lambda names: run.mistakes(
        images(24),
        *[np.arange(24) % len(names)] * 2,
        np.full(24, 0.999),
        names,
        LONG,
        [9999] * 24,
        RUN,
        "number, for predict.py --test",
    ),
    "weights of classes": lambda names: run.first_layer(
        0.01 * random.normal(size=(len(names), 784)), (1, 28, 28), LONG, names, RUN
    ),
    "training": lambda names: run.training_images(
        images(20), images(20) / 255, np.arange(20) % len(names), names, LONG
    ),
    "examples": lambda names: dataset.examples(images(200), np.arange(200) % len(names), names, "fashion"),
    "counts": lambda names: dataset.counts(np.arange(6000) % len(names), np.arange(60) % len(names), names, "fashion"),
    "means": lambda names: dataset.means(images(200), np.arange(200) % len(names), names, "fashion"),
    "explanation": lambda names: explanation.explanation(reasons(names), names, LONG, RUN),
    "comparison": lambda names: comparison.comparison([one_sided(20, names)] * 2, names, LONG, f"{RUN}\n{RUN}"),
    "one prediction": lambda names: predictions.predictions(
        images(1), np.full((1, len(names)), 1.0), names, ["test/7: Ankle boot"], [1]
    ),
    "predictions": lambda names: predictions.predictions(
        images(3), np.full((3, len(names)), 1 / len(names)), names, ["test/7: Ankle boot"] * 3
    ),
}


def _beyond_the_view(figure: Figure) -> set[int]:
    """Return tick labels that matplotlib has but does not draw."""
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                hidden |= {id(tick.label1), id(tick.label2)}
    return hidden


@pytest.mark.parametrize(
    ("picture", "names"),
    [
        *((picture, names) for picture in PICTURES for names in (FASHION, THREE)),
        *((picture, ()) for picture in WITHOUT_CLASSES),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} names",
)
def test_no_text_leaves_the_page_or_covers_another(picture: str, names: Sequence[str]) -> None:
    figure = (PICTURES | WITHOUT_CLASSES)[picture](names)
    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    hidden = _beyond_the_view(figure)
    found = [
        text
        for text in figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
        if text.get_text() and id(text) not in hidden
    ]
    boxes = [(text.get_text(), text.get_window_extent(drawn.get_renderer())) for text in found]
    width, height = drawn.get_width_height()
    outside = [words for words, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    assert outside == []
    upright = [
        box for text, box in zip(found, boxes, strict=True) if not text.get_rotation() % 90 and text.get_text().strip()
    ]
    covered = [
        (words, others)
        for k, (words, box) in enumerate(upright)
        for others, other in upright[k + 1 :]
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 2
    ]
    assert covered == []
