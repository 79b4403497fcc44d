"""The benchmark's tables in Markdown, and the README, which shows them between marks."""

import statistics
from pathlib import Path
from typing import Any

from turns import FIRST

TIMES = {"epoch_s": "s per epoch", "first_s": "s, first run", "later_s": "s, later run"}


def speed(report: dict[str, Any]) -> str:
    """A table for each recipe, the first and the later run of mlplab, and what it was measured with."""
    return "\n\n".join([*(_recipe(name, results) for name, results in report["recipes"].items()), _conditions(report)])


def _recipe(name: str, results: dict[str, Any]) -> str:
    headings = [name]
    for heading in TIMES.values():
        headings += [heading, "mlplab / it"]
    lines = [[*headings, "test %", "MB"], ["---"] + ["---:"] * 8]
    for contestant, figures in results.items():
        cells = [contestant]
        for kind in TIMES:
            cells += [_number(figures["medians"].get(kind)), _spread(figures["ratios"].get(kind))]
        accuracies = [turn["test_acc"] for turn in figures["turns"] if "test_acc" in turn]
        cells.append(f"{100 * statistics.mean(accuracies):.2f}" if accuracies else "")
        cells.append(f"{figures['medians']['peak_mb']:,.0f}" if "peak_mb" in figures["medians"] else "")
        lines.append(cells)
    return _markdown(lines) + _first_to_later(results.get(FIRST, {}))


def _first_to_later(figures: dict[str, Any]) -> str:
    ratios = [turn["first_s"] / turn["later_s"] for turn in figures.get("turns", ()) if "first_s" in turn]
    return f"\n\nThe first run of mlplab takes {_spread(ratios)} times its later run." if ratios else ""


def _conditions(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    return (
        f"One core of {machine['cpu']}, {versions}. Medians of rounds in turn ({report['rounds']}), and in brackets the"
        " lowest and the highest ratio within a round; test accuracy is the mean. Seconds of an epoch include its"
        " validation, the limit does not. Runs are from start to test accuracy, the first with every cache empty but"
        " the system's of files, and no compiler on the machine."
    )


def scaling(report: dict[str, Any]) -> str:
    """Microseconds per training image by width, at the same batch size, and what mlplab takes of them."""
    points = report["us_per_image"]["width"]
    contestants = list(points[0]["median"])
    lines = [["units", *contestants], ["---:"] * (len(contestants) + 1)]
    for point in points:
        cells = [
            _number(point["median"][name]) + (f", {_spread(point['ratios'][name])}" if name != FIRST else "")
            for name in contestants
        ]
        lines.append([str(point["width"]), *cells])
    return _markdown(lines)


def publish(readme: Path, name: str, block: str) -> None:
    """Put `block` between the marks of this name.

    Raises:
        SystemExit: if they are not there.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, opened, rest = readme.read_text(encoding="utf-8").partition(first)
    _, closed, after = rest.partition(last)
    if not opened or not closed:
        raise SystemExit(f"{readme}: {first} and {last} must be in it, in this order, for the table")
    readme.write_text(f"{before}{first}\n{block}\n{last}{after}", encoding="utf-8")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _spread(ratios: list[float] | None) -> str:
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
