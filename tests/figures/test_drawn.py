"""What is in the pictures: texts, bars, lines and pixels, read from the figures themselves."""

import io
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mlplab.datasets import IDX_SOURCES
from mlplab.figures import data, page, predictions, run
from mlplab.figures.mosaic import Mosaic

DIGITS, FASHION = (IDX_SOURCES[name].classes for name in ("mnist", "fashion"))
THREE = ("a", "a rather long name of a class", "c")
random = np.random.default_rng(0)


def images(count: int, height: int = 28, width: int = 28) -> Any:
    return random.integers(0, 256, (count, height, width), dtype=np.uint8)


def texts(of: Figure | Axes) -> list[str]:
    """All that can be read, in the order in which it was written."""
    found = of.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return [text.get_text() for text in found if text.get_text()]


def inside(mosaic: Axes, side: int = 28) -> Any:
    """The pixels of a mosaic, those between the images left out, as images one after the other."""
    (image,) = mosaic.get_images()
    pixels = np.asarray(image.get_array().filled(np.nan))
    return pixels[~np.isnan(pixels)]


HISTORY = [
    {"epoch": k, "train/loss": 1 / k, "val/loss": 0.5 / k, "train/acc": 0.9 + 0.01 * k, "val/acc": 0.91}
    for k in (1, 2, 3)
]


def test_curves_are_the_history_with_accuracy_in_percent() -> None:
    figure = run.curves(HISTORY, best_epoch=2)
    loss, acc = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (nats)", "accuracy (%)"]
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
    figure = run.curves([{"epoch": 1, "train/loss": 0.3, "train/acc": 0.9}], best)
    for axes in figure.axes:
        line, *rest = axes.get_lines()
        assert len(rest) == (best is not None)
        assert line.get_marker() == "o"
        FigureCanvasAgg(figure).draw()
        assert [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]] == [1]
    assert "validation" not in texts(figure)


def test_curves_of_seldom_validation_have_points_where_there_are_some() -> None:
    figure = run.curves([HISTORY[0], {"epoch": 2, "train/loss": 0.2, "train/acc": 0.9}, HISTORY[2]], 3)
    assert list(figure.axes[0].get_lines()[1].get_xdata()) == [1, 3]


MATRIX = np.array([[50, 3, 0], [0, 40, 10], [7, 0, 0]])


def test_the_confusion_matrix_has_each_count_in_its_cell() -> None:
    figure = run.confusion(MATRIX, THREE, "a title")
    axes = figure.axes[0]
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert written == {(i, j): str(MATRIX[i, j]) for i, j in np.ndindex(3, 3) if MATRIX[i, j]}
    (image,) = axes.get_images()
    shares = np.ma.filled(image.get_array(), np.nan)
    expected = np.array([[np.nan, 3 / 53, 0], [0, np.nan, 10 / 50], [1, 0, np.nan]]) * 100
    assert np.allclose(shares, expected, equal_nan=True)
    assert image.get_clim() == (0, 100)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    names = [page.label(name, 18) for name in THREE]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == names
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names
    assert figure.axes[1].get_ylabel() == "mistakes: share of the true class (%)"
    assert "a title" in texts(figure)


@pytest.mark.parametrize("matrix", [np.diag([5] * 3), np.zeros((3, 3), dtype=int)])
def test_a_confusion_matrix_without_mistakes_can_be_drawn(matrix: Any) -> None:
    assert page.png(run.confusion(matrix, THREE, "title")).startswith(b"\x89PNG")


def test_mistakes_are_shown_with_what_is_true_and_what_is_said() -> None:
    shown, true, said = images(30), np.arange(30) % 10, (np.arange(30) + 3) % 10
    sure = np.linspace(0.9996, 0.5, 30)
    figure = run.mistakes(shown, true, said, sure, FASHION, "title")
    (axes,) = figure.axes
    assert np.array_equal(np.sort(inside(axes)), np.sort(shown[:24].ravel()))
    words = [text.get_text() for text in axes.texts]
    assert words[0::2] == [FASHION[k] for k in true[:24]]
    assert words[1::2] == [f"{FASHION[k]} {min(99.9, 100 * p):.1f} %" for k, p in zip(said[:24], sure, strict=False)]
    assert words[1] == "Dress 99.9 %"  # not 100.0: it is not certain


def test_no_mistakes_are_no_picture_but_a_line() -> None:
    none = np.zeros(0, dtype=np.int64)
    figure = run.mistakes(images(0), none, none, np.zeros(0), DIGITS, "title")
    assert figure.axes == []
    assert "There is none: every image was classified correctly." in texts(figure)


def test_the_units_with_the_largest_weights_come_first() -> None:
    weights = random.normal(size=(70, 16)) * np.arange(1, 71)[:, None]
    figure = run.first_layer(weights, (1, 4, 4), "title")
    norms = np.linalg.norm(weights, axis=1)
    (image,) = figure.axes[0].get_images()
    pixels = np.ma.filled(image.get_array(), np.nan)
    assert np.allclose(pixels[:4, :4], weights[np.argmax(norms)].reshape(4, 4))
    assert (~np.isnan(pixels)).sum() == 64 * 16
    low, high = image.get_clim()
    assert -low == high == pytest.approx(np.abs(weights[np.argsort(-norms)[:64]]).max(), rel=1e-6)
    assert any("64 of 70 units" in text for text in texts(figure))


def test_few_units_and_colours_can_be_drawn() -> None:
    figure = run.first_layer(random.normal(size=(3, 3 * 64)), (3, 8, 8), "title")
    assert any("all 3 units" in text for text in texts(figure))


def test_training_images_are_beside_what_the_network_sees() -> None:
    originals = images(25)
    seen = (originals.astype(np.float32) - 33) / 78
    figure = run.training_images(originals, seen, np.arange(25) % 10, FASHION)
    left, right, bar = figure.axes
    (stored,), (given,) = left.get_images(), right.get_images()
    assert np.allclose(
        (np.ma.filled(stored.get_array(), np.nan) - 33) / 78, np.ma.filled(given.get_array(), np.nan), equal_nan=True
    )
    assert np.array_equal(np.sort(inside(left)), np.sort(originals[:20].ravel()))
    assert given.get_clim() == (pytest.approx(seen[:20].min()), pytest.approx(seen[:20].max()))
    names = [FASHION[k % 10] for k in range(20)]
    assert [text.get_text() for text in left.texts] == [text.get_text() for text in right.texts] == names
    assert bar.get_ylabel() == "number that the network gets"


def test_a_class_has_a_row_of_examples() -> None:
    shown, labels = images(40), np.repeat([0, 1, 2], [25, 12, 3])
    (axes,) = data.examples(shown, labels, THREE).axes
    (image,) = axes.get_images()
    pixels = np.ma.filled(image.get_array(), np.nan)
    assert np.array_equal(pixels[:28, :28], shown[0])
    expected = np.concatenate([shown[:10], shown[25:35], shown[37:]]).ravel()
    assert np.array_equal(np.sort(inside(axes)), np.sort(expected))
    assert [text.get_text() for text in axes.texts] == [page.label(name, 18) for name in THREE]


def test_the_value_of_each_pixel_is_written_into_it() -> None:
    image = images(1, 16, 16)[0]
    axes = data.pixels(image, "title").axes[0]
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert written == {(i, j): str(image[i, j]) for i, j in np.ndindex(16, 16)}


def test_bars_are_as_long_as_a_class_has_images() -> None:
    train, test = random.integers(0, 3, 500), random.integers(0, 3, 70)
    (axes,) = data.counts(train, test, THREE).axes
    widths = [round(bar.get_width()) for bar in axes.patches]
    assert widths == [*np.bincount(train, minlength=3), *np.bincount(test, minlength=3)]
    assert axes.get_xlabel() == "images"


def test_a_mean_image_is_the_mean_of_its_class() -> None:
    shown, labels = images(60, 8, 8), np.arange(60) % 3
    axes = data.means(shown, labels, THREE).axes[0]
    (image,) = axes.get_images()
    pixels = np.ma.filled(image.get_array(), np.nan)
    assert np.allclose(pixels[:8, :8], shown[labels == 0].mean(axis=0), atol=1e-3)
    assert np.nansum(pixels) == pytest.approx(sum(shown[labels == k].mean(axis=0).sum() for k in range(3)), rel=1e-5)


def test_the_histogram_counts_pixels() -> None:
    shown = images(50)
    (axes,) = data.histogram(shown).axes
    assert [round(bar.get_height()) for bar in axes.patches] == list(np.bincount(shown.ravel(), minlength=256))
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize("count", [1, 3, 25])
def test_predictions_are_bars_beside_each_image(count: int) -> None:
    shown, probabilities = images(count), random.dirichlet([0.3] * 10, count)
    names = [f"image {k}" for k in range(count)]
    figure = predictions.predictions(shown, probabilities, FASHION, names)
    assert len(figure.axes) == 2 * count
    for k in range(count):
        picture, bars = figure.axes[2 * k : 2 * k + 2]
        (image,) = picture.get_images()
        assert np.array_equal(image.get_array(), shown[k])
        assert names[k] in texts(picture)
        assert [bar.get_width() for bar in bars.patches] == pytest.approx(list(100 * probabilities[k]))
        colours = [bar.get_facecolor() for bar in bars.patches]
        best = int(probabilities[k].argmax())
        assert colours.count(colours[best]) == 1
        assert [tick.get_text() for tick in bars.get_yticklabels()] == list(FASHION)


def test_of_too_many_predictions_there_are_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST", 4)
    figure = predictions.predictions(images(5), np.full((5, 3), 1 / 3), THREE, list("abcde"))
    assert len(figure.axes) == 2 * 4
    assert any("the first 4 of 5 images" in text for text in texts(figure))


def test_an_image_of_a_mosaic_is_where_it_belongs() -> None:
    shown = images(7, 5, 4)
    mosaic = Mosaic.of(shown, columns=3, width=2.0)
    whole = mosaic.assembled(shown)
    for k, image in enumerate(shown):
        top, left = mosaic.corner(k)
        assert np.array_equal(whole[top : top + 5, left : left + 4], image)
    assert (~np.isnan(whole)).sum() == shown.size
    assert mosaic.scale == int(mosaic.scale)
    assert mosaic.width <= 2.0


def test_an_image_that_is_larger_than_its_place_is_made_smaller() -> None:
    mosaic = Mosaic.of(images(4, 2000, 2000), columns=2, width=2.0)
    assert mosaic.scale < 1
    assert mosaic.width <= 2.01


def test_a_png_has_the_size_of_the_page() -> None:
    content = page.png(page.figure(2.0))
    assert struct.unpack(">II", content[16:24]) == (page.WIDTH * page.DPI, 2.0 * page.DPI)
    with Image.open(io.BytesIO(content)) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_label_is_short_and_no_formula() -> None:
    assert page.label("$x$") == r"\$x\$"
    assert page.label("\N{SNOWMAN}") == "?"
    assert page.label("a\tb\n") == "a?b?"
    assert len(page.label("a" * 100, 20)) <= 20
    assert page.label("short", 20) == "short"


PICTURES: dict[str, Callable[[Sequence[str]], Figure]] = {
    "curves": lambda _: run.curves(HISTORY, 2),
    "confusion": lambda names: run.confusion(
        np.full((len(names),) * 2, 1234), names, "test images, weights of epoch 12"
    ),
    "mistakes": lambda names: run.mistakes(
        images(24), np.arange(24) % len(names), np.arange(24) % len(names), np.full(24, 0.999), names, "test images"
    ),
    "first_layer": lambda _: run.first_layer(random.normal(size=(512, 784)), (1, 28, 28), "weights of the first layer"),
    "training": lambda names: run.training_images(images(20), images(20) / 255, np.arange(20) % len(names), names),
    "examples": lambda names: data.examples(images(200), np.arange(200) % len(names), names),
    "counts": lambda names: data.counts(np.arange(6000) % len(names), np.arange(60) % len(names), names),
    "means": lambda names: data.means(images(200), np.arange(200) % len(names), names),
    "histogram": lambda _: data.histogram(images(20)),
    "predictions": lambda names: predictions.predictions(
        images(3), np.full((3, len(names)), 1 / len(names)), names, ["test/7: Ankle boot"] * 3
    ),
}


def _beyond_the_view(figure: Figure) -> set[int]:
    """Labels of ticks that matplotlib has and does not draw."""
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                hidden |= {id(tick.label1), id(tick.label2)}
    return hidden


@pytest.mark.parametrize("names", [DIGITS, FASHION, THREE], ids=["digits", "fashion", "three"])
@pytest.mark.parametrize("picture", PICTURES)
def test_no_text_leaves_the_page_or_covers_another(picture: str, names: Sequence[str]) -> None:
    figure = PICTURES[picture](names)
    FigureCanvasAgg(figure).draw()
    figure.dpi = page.DPI
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = _beyond_the_view(figure)
    found = [
        text
        for text in figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
        if text.get_text() and id(text) not in hidden
    ]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in found]
    width, height = canvas.get_width_height()
    outside = [words for words, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    assert outside == []
    slanted = {id(text) for text in found if text.get_rotation() % 90}
    upright = [
        box for text, box in zip(found, boxes, strict=True) if id(text) not in slanted and text.get_text().strip()
    ]
    covered = [
        (words, others)
        for k, (words, box) in enumerate(upright)
        for others, other in upright[k + 1 :]
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 2
    ]
    assert covered == []
