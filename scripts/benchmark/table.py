"""The benchmark's table in Markdown."""

import statistics
from typing import Any

from turns import FIRST

TIMES = {"epoch_s": "s per epoch", "first_s": "s, first run", "later_s": "s, later run"}


def speed(report: dict[str, Any]) -> str:
    """Return a table for each recipe, and the conditions of the measurement."""
    return "\n\n".join(
        [*(_recipe(title, results) for title, results in report["recipes"].items()), _conditions(report)]
    )


def _recipe(title: str, results: dict[str, Any]) -> str:
    headings = [heading for time in TIMES.values() for heading in (time, "mlplab / it")]
    rows = [[title, *headings, "test %", "MB"], ["---"] + ["---:"] * 8]
    for contestant, figures in results.items():
        times = [
            cell
            for kind in TIMES
            for cell in (_number(figures["medians"].get(kind)), _spread(figures["ratios"].get(kind)))
        ]
        accs = [turn["test_acc"] for turn in figures["turns"] if "test_acc" in turn]
        memory = figures["medians"].get("peak_mb")
        rows.append([contestant, *times, f"{100 * statistics.mean(accs):.2f}" if accs else "", _number(memory)])
    first_to_later = [turn["first_s"] / turn["later_s"] for turn in results[FIRST]["turns"]]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\nThe first run of mlplab takes {_spread(first_to_later)} times its later run."


def _conditions(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    return (
        f"One core of {machine['cpu']}, {versions}. Medians of {report['rounds']} alternating rounds, with the lowest"
        " and highest ratio within a round in brackets; test accuracy is the mean. Seconds per epoch include"
        " validation, except for the limit. Runs are timed from start to test accuracy. The first run has no compiler"
        " and empty caches, except the system's file cache."
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _spread(ratios: list[float] | None) -> str:
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
