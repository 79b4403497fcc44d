"""Puts what was measured where people read it: into the headers of conf/experiment and the table of the README."""

import re
from collections.abc import Mapping
from pathlib import Path

import page
import sweeps
from measured import Entries, Measured, place

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write

WIDTH = len("Published: ")


def publish(measured: Entries) -> list[Path]:
    """Rewrite the files that do not say it yet, and return them.

    Raises:
        CheckpointError: if the README has no place for the table, or a file cannot be written.
    """
    texts = {
        (path := sweeps.experiment(name)): with_fields(path.read_text(encoding="utf-8"), fields(entry))
        for name, entry in page.known(measured).items()
    }
    readme = sweeps.PROJECT / "README.md"
    texts[readme] = with_table(readme.read_text(encoding="utf-8"), measured)
    changed = {path: text for path, text in texts.items() if text != path.read_text(encoding="utf-8")}
    try:
        for path, text in changed.items():
            atomic_write.write(path, text.encode(), sync=False)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error
    return list(changed)


def fields(entry: Measured) -> dict[str, str]:
    """The lines of a recipe's header, by the word that they begin with."""
    precision = "" if entry.precision == "32-true" else f", precision {entry.precision}"
    missing = f"; {_seeds(entry.missing)} not complete" if entry.missing else ""
    n = f"n = {entry.percent.n} ({_seeds(list(entry.test_acc))})"
    earlier = ", with an earlier version" if entry.is_earlier else ""
    return {
        "Measured": f"{page.accuracy(entry)} % test accuracy, {n}{precision}{missing}{earlier}",
        "Takes": f"{page.seconds(entry.seconds)} s of training on {place(entry.devices)}",
    }


def with_fields(text: str, values: Mapping[str, str]) -> str:
    """A configuration with these fields in its header in place of the old ones, or after its last line."""
    for field, value in values.items():
        line = f"# {f'{field}:':{WIDTH}}{value}\n"
        # A field goes on in lines that are indented.
        old = re.search(rf"^# {field}:.*\n(?:# {{3,}}.*\n)*", text, re.MULTILINE) or re.match(r"(?:#.*\n)*()", text)
        assert old is not None
        start = old.end() if old.lastindex else old.start()
        text = text[:start] + line + text[old.end() :]
    return text


def with_table(readme: str, measured: Entries) -> str:
    """With what belongs to it; nothing where nothing was measured.

    Raises:
        CheckpointError: if there is no place for it.
    """
    parts = [page.table(measured, with_commands=False), page.conditions(measured), page.checks(measured), page.VERDICTS]
    return with_block(readme, "results", "\n\n".join(filter(None, parts)) if page.known(measured) else "")


def with_block(readme: str, name: str, block: str) -> str:
    """With `block` between the marks of this name.

    Raises:
        CheckpointError: if they are not there.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, opened, rest = readme.partition(first)
    _, closed, after = rest.partition(last)
    if not opened or not closed:
        raise CheckpointError(f"README.md: {first} and {last} must be in it, in this order, for the table.")
    return f"{before}{first}\n{block}\n{last}{after}"


def _seeds(seeds: list[int]) -> str:
    """`seeds 0 to 4`, or all of them."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"
