"""The results page: published and measured accuracy, as a Markdown table and as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

from measured import Entries, Measured
from recipe import RECIPES, Recipe
from verdict import RULES, verdict

from mlplab.config.datasets import DATASETS

HEADINGS = ("recipe", "network and training", "published or reference", "source", "test acc %", "n", "verdict")
COMMAND, SECONDS = "command", "train s a seed"
SHORT = ("recipe", "published or reference", "test acc %", "n", "verdict")
FULL = (*HEADINGS, SECONDS)


def known(entries: Entries) -> dict[Recipe, Measured]:
    """Return the entries by recipe, sorted by data set and time, without those of deleted recipes."""
    found = {recipe: entries[name] for name, recipe in RECIPES.items() if name in entries}
    return dict(sorted(found.items(), key=lambda item: ([*DATASETS].index(item[0].data), item[1].seconds)))


def seconds(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def table(entries: Entries, headings: Sequence[str] = FULL) -> str:
    """Return a line for each measured recipe."""
    lines = [_line(headings), _line("---:" if heading in ("n", SECONDS) else "---" for heading in headings)]
    lines += [_line(_cells(recipe, entry)[heading] for heading in headings) for recipe, entry in known(entries).items()]
    return "\n".join(lines)


def _cells(recipe: Recipe, entry: Measured) -> dict[str, str]:
    n, times = entry.percent.n, [seconds(pick(entry.fit_s.values())) for pick in (min, max)]
    return {
        "recipe": f"`{recipe.name}`",
        "network and training": recipe.published.title or "",
        "published or reference": recipe.figure,
        "source": recipe.published.source or "-",
        "test acc %": entry.accuracy,
        "n": f"{n}" if n == entry.wanted else f"{n} of {entry.wanted}",
        "verdict": (verdict(recipe, entry) or "-") + (", earlier version" if entry.is_earlier else ""),
        SECONDS: seconds(entry.seconds) + ("" if times[0] == times[1] else f" ({times[0]} to {times[1]})"),
        COMMAND: f"`{recipe.command(entry.wanted)}`",
    }


def conditions(entries: Entries) -> str:
    """Describe hardware and versions, for all recipes or for each group of them."""
    groups: dict[str, list[str]] = {}
    for recipe, entry in known(entries).items():
        groups.setdefault(_conditions(entry), []).append(recipe.name)
    if len(groups) == 1:
        return f"Trained {next(iter(groups))}."
    return "\n".join(f"- {', '.join(f'`{name}`' for name in names)}: {how}." for how, names in groups.items())


def _conditions(entry: Measured) -> str:
    packages = ("torch", "lightning", "mlplab")
    made_with = dict.fromkeys(
        ", ".join(f"{package} {versions[package]}" for package in packages if package in versions)
        for versions in entry.versions
    )
    return f"on {entry.place}, precision {entry.precision}, {' and '.join(made_with)}"


def checks(entries: Entries) -> str:
    """List results of the current version for some seeds of recipes that were measured with an earlier one."""
    lines = []
    for recipe, entry in known(entries).items():
        found = ", ".join(f"{100 * acc:.2f} % (seed {seed})" for seed, acc in entry.check.items())
        lines += [f"- `{recipe.name}` with this version: {found}."] if found else []
    return "\n".join(lines)


def block(entries: Entries, headings: Sequence[str] = FULL) -> str:
    """Return the table with its notes."""
    parts = [table(entries, headings), conditions(entries), checks(entries), RULES]
    return "\n\n".join(filter(None, parts))


def markdown(entries: Entries, picture: str) -> str:
    return f"# Results\n\n{block(entries, (*FULL, COMMAND))}\n\n![Test error of each recipe]({picture})\n"


def as_csv(entries: Entries) -> str:
    """Return the results as CSV in full precision; accuracies are fractions of 1."""
    rows: list[list[object]] = [
        ["recipe", "title", "n", "test_acc_mean", "test_acc_sd", "published_acc", "source", "verdict", "fit_s", COMMAND]
    ]
    for recipe, entry in known(entries).items():
        source, found = recipe.published, entry.percent
        sd = "" if found.sd is None else found.sd / 100
        published = "" if source.accuracy is None else Decimal(source.accuracy) / 100
        accuracies = [found.n, found.mean / 100, sd, published]
        judged = [verdict(recipe, entry), entry.seconds, recipe.command(entry.wanted)]
        rows.append([recipe.name, source.title, *accuracies, source.source, *judged])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"
