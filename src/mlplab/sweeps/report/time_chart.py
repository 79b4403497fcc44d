"""Accuracy by time of training: a numbered dot for each configuration, and their names below."""

import math
from collections.abc import Sequence
from typing import Any

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREEN, GREY, ORANGE, SMALL, VERMILION, label
from mlplab.sweeps.report.table import Table

MOST_NAMED, LONGEST_NAME = 60, 70  # configurations with a number and a name; characters of a name
BEST = ((VERMILION, "s"), (ORANGE, "D"), (GREEN, "^"))
LEFT, PLOT, BELOW, LINE = 0.75, 3.6, 0.5, SMALL * 1.35 / 72  # inches: margin, height of the axes, space below, a name
DISTANCES = (8, 12, 17, 23, 30)  # points from a dot, for its number
ANGLES = (0, 45, 315, 90, 270, 135, 225, 180)  # degrees, likewise

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top, in dots of the page


def accuracy_by_time(table: Table, title: str) -> "canvas.Figure | None":
    """Draw a marker for each configuration, with the spread of its seeds, its rank, and its name below."""
    ranked = table.validated
    if not ranked:
        return None
    texts = (table.text(one) or "the only configuration" for one in ranked[:MOST_NAMED])
    names = [f"{rank}: {label(text, LONGEST_NAME)}" for rank, text in enumerate(texts, 1)]
    columns = max(1, min(4, int((canvas.WIDTH - 0.3) / (max(map(len, names)) * SMALL * canvas.LETTER + 0.15))))
    rows = math.ceil(len(names) / columns)
    points = [(one.fit_s, 100 * one.val_acc.mean) for one in ranked if one.val_acc is not None]
    front = _front(points)
    note = _note(table, len(front) > 1)
    figure = canvas.page(title, PLOT + BELOW + rows * LINE + 0.1, note)
    axes = canvas.axes(figure, LEFT, canvas.top(note), canvas.WIDTH - LEFT - 0.15, PLOT)
    for position, (one, (seconds, acc)) in enumerate(zip(ranked, points, strict=True)):
        _mark(axes, position, seconds, acc, one.val_acc.sd if one.val_acc else None)
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color=GREY, linewidth=0.9, zorder=1)
    times = [seconds for seconds, _ in points]
    if min(times) > 0 and max(times) > 10 * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(0.06)
    axes.set(xlabel="time of training (s)", ylabel="mean validation accuracy (%)")
    canvas.style(axes, "both")
    _number(axes, points)
    for position, name in enumerate(names):
        column, row = divmod(position, rows)
        x, y = 0.15 + column * (canvas.WIDTH - 0.3) / columns, canvas.top(note) + PLOT + BELOW + row * LINE
        color = BEST[position][0] if position < len(BEST) else "black"
        canvas.write(figure, x, y, name, fontsize=SMALL, color=color, va="top")
    return figure


def _note(table: Table, has_front: bool) -> str:
    ranked = table.validated
    has_spread = any(len(one.runs) > 1 for one in ranked)
    parts = ["numbers: rank by validation"]
    parts += ["bars: standard deviation over seeds"] if has_spread else []
    parts += ["grey line: the best up to each time"] if has_front else []
    rest = len(ranked) - MOST_NAMED
    parts += [f"the {rest:,} without a number: report.csv"] if rest > 0 else []
    varying = ", ".join(factor.name for factor in table.factors)
    return "; ".join(parts) + (f"\nbelow: {varying}" if varying else "")


def _mark(axes: "canvas.Axes", position: int, seconds: float, acc: float, sd: float | None) -> None:
    color, marker = BEST[position] if position < len(BEST) else (BLUE, "o")
    style: dict[str, Any] = {"alpha": 0.6, "markersize": 4, "zorder": 2}
    if position < len(BEST):
        style = {"markersize": 7, "zorder": 3}
    error = None if sd is None else 100 * sd
    axes.errorbar(seconds, acc, error, fmt=marker, color=color, elinewidth=0.8, **style)


def _number(axes: "canvas.Axes", points: Sequence[Point]) -> None:
    """Write the number of each dot beside it, where it covers no other number and no dot."""
    axes.autoscale_view()  # otherwise it would happen while drawing, and move the dots
    dots = [(float(x), float(y)) for x, y in axes.transData.transform(points)]
    scale = canvas.DPI / 72
    taken: list[Box] = [(x - 3 * scale, y - 3 * scale, x + 3 * scale, y + 3 * scale) for x, y in dots]
    for rank, (point, dot) in enumerate(zip(points[:MOST_NAMED], dots, strict=False), 1):
        half = 0.32 * SMALL * len(str(rank)), 0.45 * SMALL  # points
        places = [(r * math.cos(math.radians(a)), r * math.sin(math.radians(a))) for r in DISTANCES for a in ANGLES]
        boxes = [_box(dot, place, half, scale) for place in places]
        best = min(range(len(places)), key=lambda k: (sum(_overlap(boxes[k], other) for other in taken), k))
        taken.append(boxes[best])
        far = math.hypot(*places[best]) > DISTANCES[0] + 1
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1} if far else None
        text: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": SMALL}
        axes.annotate(str(rank), point, places[best], textcoords="offset points", arrowprops=line, **text)


def _box(dot: Point, place: Point, half: Point, scale: float) -> Box:
    x, y = dot[0] + scale * place[0], dot[1] + scale * place[1]
    return x - scale * half[0], y - scale * half[1], x + scale * half[0], y + scale * half[1]


def _overlap(one: Box, other: Box) -> float:
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _front(points: Sequence[Point]) -> list[Point]:
    """Return the points that are better than all faster ones (Pareto front), by rising time."""
    front: list[Point] = []
    for seconds, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((seconds, accuracy))
    return front
