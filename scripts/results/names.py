"""Names beside the dots of a picture, where they cover neither each other nor what is drawn."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mlplab.plots.canvas import GREY, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

NEAR, STEP, FARTHEST = 7, 6, 67  # points from a dot to its name
DIRECTIONS = 16
GAP = 1.5  # points around a name


def put_names(axes: "Axes", dots: Mapping[str, tuple[float, float]]) -> None:
    """Of dots in the units of axes whose limits are final; a line leads to a name that is not beside its dot."""
    dot = axes.figure.dpi / 72
    inside = axes.get_window_extent()
    taken = list(_drawn(axes))
    for name, place in sorted(dots.items(), key=lambda item: item[1]):
        text = axes.annotate(name, place, (0, 0), textcoords="offset points", fontsize=SMALL, gid=f"name {name}")
        best, least = (0.0, 0.0, "left", "center"), math.inf
        for candidate in _places():
            _move(text, *candidate)
            box = text.get_window_extent().padded(GAP * dot)
            out = box.width * box.height - _shared(box, inside)
            covered = out + sum(_shared(box, other) for other in taken)
            if covered < least:
                best, least = candidate, covered
            if covered == 0:
                break
        _move(text, *best)
        taken.append(text.get_window_extent())
        if math.hypot(*best[:2]) > NEAR + STEP / 2:
            line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", place, best[:2], textcoords="offset points", arrowprops=line)


def _places() -> Iterator[tuple[float, float, str, str]]:
    """Offsets in points and alignments: beside the dot first, then around it, then farther away."""
    for distance in range(NEAR, FARTHEST, STEP):
        for turn in sorted(range(DIRECTIONS), key=lambda turn: (turn % 8, turn)):
            angle = 2 * math.pi * turn / DIRECTIONS
            across, up = round(math.cos(angle), 6), round(math.sin(angle), 6)
            horizontal = "center" if abs(across) < 0.3 else "left" if across > 0 else "right"
            vertical = "center" if abs(up) < 0.3 else "bottom" if up > 0 else "top"
            yield distance * across, distance * up, horizontal, vertical


def _move(text: object, across: float, up: float, horizontal: str, vertical: str) -> None:
    text.set(position=(across, up), horizontalalignment=horizontal, verticalalignment=vertical)  # type: ignore[attr-defined]


def _drawn(axes: "Axes") -> Iterator["Bbox"]:
    """What no name may cover: dots, ticks and bars, in pixels."""
    from matplotlib.collections import LineCollection
    from matplotlib.transforms import Bbox

    dot = axes.figure.dpi / 72
    for line in axes.get_lines():
        points = axes.transData.transform(line.get_xydata())
        marked = line.get_marker() not in ("None", None)
        width = line.get_markersize() / 2 if marked else 1
        height = 2 if line.get_marker() == "_" else width
        (left, low), (right, high) = points.min(0), points.max(0)
        yield Bbox.from_extents(left - width * dot, low - height * dot, right + width * dot, high + height * dot)
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            for segment in collection.get_segments():
                (left, low), (right, high) = (points := axes.transData.transform(segment)).min(0), points.max(0)
                yield Bbox.from_extents(left - dot, low, right + dot, high)


def _shared(one: "Bbox", other: "Bbox") -> float:
    """Area that both cover."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))
