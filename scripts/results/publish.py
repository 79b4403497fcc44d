"""Publishes results: between marks of the pages, and in the headers of conf/experiment."""

import re
from collections.abc import Mapping
from pathlib import Path

import page
from measured import Entries, Measured
from recipe import PROJECT

from mlplab.errors import CheckpointError
from mlplab.runs import atomic_write, marked_page

PAGES = (  # a block is written into each page that has its marks
    *("README.md", "scripts/results/README.md", "scripts/benchmark/README.md"),
    *("src/mlplab/sweeps/README.md", "src/mlplab/runs/README.md"),
)


def publish(entries: Entries) -> list[Path]:
    """Rewrite the files that do not have these figures yet, and return them.

    Raises:
        CheckpointError: if no page has a place for the table, or a file cannot be written.
    """
    texts = {recipe.file: with_header(_text(recipe.file), entry) for recipe, entry in page.known(entries).items()}
    blocks = {"results": page.block(entries), "results in short": page.table(entries, page.SHORT)}
    return write(texts | with_blocks(blocks))


def with_header(text: str, entry: Measured) -> str:
    """Return the text of a recipe with its line of measured results."""
    took = f"trained in {page.seconds(entry.seconds)} s a seed on {entry.place}"
    earlier = ", with an earlier version" if entry.is_earlier else ""
    line = f"# Measured: {entry.accuracy} % test accuracy, n = {entry.percent.n}, {took}{earlier}"
    return re.sub(r"^# Measured:.*", lambda _: line, text, count=1, flags=re.MULTILINE)


def with_blocks(blocks: Mapping[str, str]) -> dict[Path, str]:
    """Return the pages with each block between the marks of its name, by path.

    Raises:
        CheckpointError: if no page has the marks of one.
    """
    texts = {path: _text(path) for path in (PROJECT / page for page in PAGES) if path.exists()}
    for name, block in blocks.items():
        with_it = {path: marked_page.with_block(text, name, block) for path, text in texts.items()}
        replaced = {path: text for path, text in with_it.items() if text is not None}
        if not replaced:
            raise CheckpointError(f"{', '.join(PAGES)}: one must have <!-- {name} --> and <!-- /{name} -->.")
        texts |= replaced
    return texts


def write(texts: Mapping[Path, str]) -> list[Path]:
    """Write the files whose text changes, and return them."""
    changed = {path: text for path, text in texts.items() if text != _text(path)}
    for path, text in changed.items():
        try:
            atomic_write.write(path, text.encode(), sync=False)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error
    return list(changed)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
