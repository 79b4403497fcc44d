"""Style of all pictures: size, colours and text."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write

if TYPE_CHECKING:  # matplotlib takes a quarter of a second, and few importers draw
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.image import AxesImage as AxesImage

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs each font search, and its caches

# Okabe and Ito (2008), Color Universal Design: distinguishable with any kind of colour vision.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
PALE = "#dddddd"  # grid lines and background elements
WIDTH, DPI = 7.5, 150  # inches of a page, and dots per inch
SMALL, TEXT, TITLE = 7, 8, 10  # points
TITLE_HEIGHT, NOTE_GAP, NOTE_LINE = 0.38, 0.07, TEXT * 1.2 / 72  # inches of a title; of a note below it
BEYOND_THE_FONT = 0x590  # Latin, Greek and Cyrillic letters are in matplotlib's own
LETTER = 0.6 / 72  # inches that a letter takes on average, for each point of its size
COMPRESSION = 3  # of zlib, from 0 to 9: twice as fast as what Pillow would choose, files a quarter larger


def figure(height: float, width: float = WIDTH, layout: Literal["constrained"] | None = None) -> "Figure":
    """Make an empty page, in inches. A layout draws everything twice; without one, place axes with `axes`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def page(
    heading: str, height: float, note: str = "", width: float = WIDTH, layout: Literal["constrained"] | None = None
) -> "Figure":
    """Make a page with a title, which names run, data and figure, a note of any number of lines, and `height` inches.

    Axes without a layout begin at `top(note)`.
    """
    made = figure(height + top(note), width, layout)
    title(made, heading, note)
    if layout is not None:
        made.set_layout_engine(layout, rect=(0.01, 0, 0.98, height / (height + top(note))))
    return made


def top(note: str = "") -> float:
    """Return the inches of a title and its note."""
    return TITLE_HEIGHT + (NOTE_GAP + NOTE_LINE * len(note.splitlines()) if note else 0)


def axes(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Add axes, in inches from the upper left corner of the page, on whole dots."""
    page_width, page_height = figure.get_size_inches()
    left, bottom = round(left * DPI) / DPI, round((page_height - top - height) * DPI) / DPI
    return figure.add_axes((left / page_width, bottom / page_height, width / page_width, height / page_height))


def title(figure: "Figure", text: str, note: str = "") -> None:
    """Write a line at the top, and a note below it."""
    letters, of_note = (int((figure.get_figwidth() - 0.3) / (size * LETTER)) for size in (TITLE, TEXT))
    write(figure, 0.15, 0.1, label(text, letters), fontsize=TITLE, fontweight="bold", va="top")
    lines = "\n".join(label(line, of_note) for line in note.splitlines())
    if lines:
        write(figure, 0.15, 0.32, lines, fontsize=TEXT, color="#444444", va="top", linespacing=1.2)


def write(figure: "Figure", left: float, top: float, text: str, **style: Any) -> None:
    """Write a text at inches from the upper left corner of the page."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, **style)


def style(axes: "Axes", grid: Literal["both", "x", "y"] | None = None) -> None:
    """Set the font sizes; with a `grid`, draw pale lines, and no frame at the top and right."""
    axes.tick_params(labelsize=TEXT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(TEXT + 1)
    if grid is not None:
        axes.grid(axis=grid, color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)


def epochs(axes: "Axes", last: float) -> None:
    """Let the x axis begin at epoch 1, with a tick there."""
    from matplotlib.ticker import MaxNLocator

    room = 0.5 if last <= 1 else min(0.5, 0.03 * (last - 1))
    ticks = MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1).tick_values(1, max(last, 1))
    axes.set(xlabel="epoch", xlim=(1 - room, last + max(room, 0.02 * last)))
    axes.set_xticks(sorted({1, *(round(tick) for tick in ticks if 1 <= tick <= last)}))


def slant(axes: "Axes") -> None:
    """Slant the x labels, which would overlap."""
    for tick in axes.get_xticklabels():
        tick.set(rotation=35, ha="right", rotation_mode="anchor")


def colorbar(figure: "Figure", image: "AxesImage", left: float, top: float, height: float, says: str) -> None:
    """Draw an upright bar, 0.13 inches wide, with room for numbers and text to its right."""
    from matplotlib.ticker import MaxNLocator

    lines = wrap(says, max(1, int(height / (TEXT * LETTER))))
    bar = figure.colorbar(
        image, cax=axes(figure, left, top, 0.13, height), label="\n".join(lines), ticks=MaxNLocator(5)
    )
    bar.ax.yaxis.label.set_fontsize(TEXT)
    bar.ax.tick_params(labelsize=SMALL)


def png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file, mark = io.BytesIO(), {"Software": "mlplab"}  # by which `atomic_write.write_own` recognises own files
    FigureCanvasAgg(figure).print_png(file, metadata=mark, pil_kwargs={"compress_level": COMPRESSION})
    return file.getvalue()


def save(figures: "Mapping[Path, Figure]") -> None:
    """Write figures as PNG files, and make their folders.

    Raises:
        ConfigError: if one would replace a picture that this project did not write; then nothing is written.
        CheckpointError: if a file cannot be written.
    """
    try:
        for path in figures:
            path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write_own({path: png(figure) for path, figure in figures.items()})
    except OSError as error:
        raise CheckpointError(f"{path.parent}: the pictures cannot be written: {error.strerror}.") from error


def label(text: str, longest: int = 40) -> str:
    """Shorten a text, and remove formulas and characters that matplotlib cannot draw."""
    text = "".join(sign if sign.isprintable() and ord(sign) < BEYOND_THE_FONT else "?" for sign in text)
    if len(text) > longest:
        text = f"{text[: longest // 2]}...{text[len(text) - longest // 2 + 3 :]}"
    return text.replace("$", r"\$")
