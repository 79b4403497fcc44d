"""The page: a table, as Markdown and CSV, and a picture of error against time."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from measured import Entries, Measured, place, verdict
from names import put_names
from published import RECIPES, data_of
from sweeps import command

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREY, PALE, SMALL, TEXT, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PUBLISHED = "published or reference"
HEADINGS = ("recipe", "network and training", PUBLISHED, "source", "test acc %", "n", "verdict", "s a seed")
TITLES = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}
VERDICTS = (
    "Test accuracy is mean ± standard deviation over n seeds; time is that of training one seed,"
    " the median and the range. Of five seeds, or three where one takes over 10 minutes: *reproduced* where the mean is"
    " not below the published figure, or the reference, by more than its standard deviation or 0.1 points (0.25 on"
    " Fashion-MNIST), whichever is more; *beaten* where it is above it by more than two standard errors, of both"
    " where the other is a mean of several runs; otherwise *short*. With fewer seeds it is *incomplete*."
)
LOGARITHMIC = 3  # an axis is, where its largest value is more than this many times its smallest
LEFT, RIGHT, BETWEEN, BELOW = 0.62, 0.12, 0.42, 0.5  # inches around the panels


def known(measured: Entries) -> dict[str, Measured]:
    """In the order of the registry, without what is not in it."""
    return {name: measured[name] for name in RECIPES if name in measured}


def accuracy(entry: Measured) -> str:
    """`98.22 ± 0.09`."""
    found = entry.percent
    return f"{found.mean:.2f}" + ("" if found.sd is None else f" ± {found.sd:.2f}")


def seconds(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def times(entry: Measured) -> str:
    """`36 (34 to 41)`: the median, and the range where it shows."""
    low, high = (seconds(value) for value in (min(entry.fit_s.values()), max(entry.fit_s.values())))
    return seconds(entry.seconds) + (f" ({low} to {high})" if low != high else "")


def table(measured: Entries, with_commands: bool) -> str:
    """In Markdown, a line for each recipe that was measured."""
    headings = [*HEADINGS, "command"] if with_commands else list(HEADINGS)
    lines = [_line(headings), _line("---:" if heading in ("n", "s a seed") else "---" for heading in headings)]
    for name, entry in known(measured).items():
        recipe, n = RECIPES[name], entry.percent.n
        cells = [
            f"`{name}`",
            recipe.title,
            recipe.published,
            recipe.source or "-",
            accuracy(entry),
            f"{n}" if n == entry.wanted else f"{n} of {entry.wanted}",
            (verdict(recipe, name, entry) or "-") + (", earlier version" if entry.is_earlier else ""),
            times(entry),
            f"`{command(name, entry.wanted)}`",
        ]
        lines.append(_line(cells[: len(headings)]))
    return "\n".join(lines)


def conditions(measured: Entries) -> str:
    """Where and with what it was trained: a sentence for all, or one for each group of recipes."""
    groups: dict[str, list[str]] = {}
    for name, entry in known(measured).items():
        groups.setdefault(_conditions(entry), []).append(name)
    if len(groups) == 1:
        return f"Trained {next(iter(groups))}."
    return "\n".join(f"- {', '.join(f'`{name}`' for name in names)}: {how}." for how, names in groups.items())


def checks(measured: Entries) -> str:
    """What the present version gives for some seeds of recipes that an earlier one has measured; empty if nothing."""
    lines = []
    for name, entry in known(measured).items():
        found = ", ".join(f"{100 * acc:.2f} % (seed {seed})" for seed, acc in entry.check.items())
        lines += [f"- `{name}` with this version: {found}."] if found else []
    return "\n".join(lines)


def _conditions(entry: Measured) -> str:
    made_with = dict.fromkeys(
        ", ".join(
            f"{package} {versions[package]}" for package in ("torch", "lightning", "mlplab") if package in versions
        )
        for versions in entry.versions
    )
    return f"on {place(entry.devices)}, precision {entry.precision}, {' and '.join(made_with)}"


def markdown(measured: Entries, picture: str) -> str:
    parts = ["# Results", table(measured, with_commands=True), conditions(measured), checks(measured), VERDICTS]
    return "\n\n".join([*filter(None, parts), f"![Test error by time of training]({picture})"]) + "\n"


def as_csv(measured: Entries) -> str:
    """In full precision; accuracies are fractions of 1."""
    headings = ["recipe", "title", "n", "test_acc_mean", "test_acc_sd", "published_acc", "source", "verdict", "fit_s"]
    rows: list[list[object]] = [[*headings, "command"]]
    for name, entry in known(measured).items():
        recipe, found = RECIPES[name], entry.percent
        rows.append(
            [
                name,
                recipe.title,
                found.n,
                found.mean / 100,
                "" if found.sd is None else found.sd / 100,
                "" if recipe.accuracy is None else recipe.accuracy / 100,
                recipe.source,
                verdict(recipe, name, entry),
                entry.seconds,
                command(name, entry.wanted),
            ]
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def picture(measured: Entries) -> "Figure":
    """A panel a data set, a dot a recipe, on a common axis of time; there must be at least one."""
    of_data = {
        data: {name: entry for name, entry in known(measured).items() if data_of(name) == data} for data in TITLES
    }
    of_data = {data: entries for data, entries in of_data.items() if entries}
    heights = {data: min(4.2, 1.5 + 0.3 * len(entries)) for data, entries in of_data.items()}
    above = 0.75
    figure = canvas.figure(above + sum(heights.values()) + BETWEEN * (len(heights) - 1) + BELOW)
    canvas.title(figure, "Test error by time of training")
    _legend(figure)
    times = [entry.seconds for entry in known(measured).values()]
    top = above
    for data, entries in of_data.items():
        axes = canvas.axes(figure, LEFT, top, canvas.WIDTH - LEFT - RIGHT, heights[data])
        axes.set_title(TITLES[data], fontsize=TEXT, loc="left", pad=3)
        _scale(axes, "x", times)
        _dots(axes, entries)
        axes.set_ylabel("test error (%)", fontsize=TEXT)
        top += heights[data] + BETWEEN
    axes.set_xlabel("time of training one seed (s)", fontsize=TEXT)
    return figure


def _dots(axes: "Axes", entries: Entries) -> None:
    errors = {name: 100 - entry.percent.mean for name, entry in entries.items()}
    published = {name: 100 - float(accuracy) for name in entries if (accuracy := RECIPES[name].accuracy) is not None}
    spreads = {name: entry.percent.sd or 0.0 for name, entry in entries.items()}
    ends = [max(errors[name] + sign * sd, errors[name] / 2) for name, sd in spreads.items() for sign in (-1, 1)]
    _scale(axes, "y", [*ends, *published.values()])
    for name, entry in entries.items():
        x, error = entry.seconds, errors[name]
        if name in published:
            axes.plot([x, x], [error, published[name]], "-", color=GREY, linewidth=0.8, zorder=1)
            axes.plot(
                [x], [published[name]], "_", color=VERMILION, markersize=13, markeredgewidth=2, gid=f"published {name}"
            )
        axes.errorbar([x], [error], yerr=[spreads[name]], fmt="none", ecolor=BLUE, elinewidth=1.6, capsize=2.5)
        axes.plot([x], [error], "o", color=BLUE, markersize=6, zorder=3, gid=f"measured {name}")
    put_names(axes, {name: (entries[name].seconds, error) for name, error in errors.items()})


def _scale(axes: "Axes", which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Limits with room for names, and an axis that is logarithmic where that shows more."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = min(values), max(values)
    is_logarithmic = low > 0 and high > LOGARITHMIC * low
    if is_logarithmic:
        room = (high / low) ** 0.12
        limits = (low / room, high * room)
    else:
        room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
        limits = (low - room, high + room)
    axes.set(**{f"{which}scale": "log" if is_logarithmic else "linear", f"{which}lim": limits})
    if is_logarithmic:
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    axes.tick_params(which, labelsize=SMALL)
    axes.grid(axis=which, color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=6, linewidth=1.6, label="mean and sd over the seeds"),
        Line2D([], [], color=VERMILION, marker="_", markersize=13, markeredgewidth=2, linestyle="", label=PUBLISHED),
    ]
    anchor = (1 - RIGHT / width, 1 - 0.06 / height)
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=anchor, ncols=2, fontsize=TEXT, frameon=False)


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"
