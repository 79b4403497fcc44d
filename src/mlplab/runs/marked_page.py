"""Replaces a block of a Markdown page, between `<!-- name -->` and `<!-- /name -->`, by new measurements."""

import re
from pathlib import Path

from mlplab.errors import ConfigError
from mlplab.runs import atomic_write


def with_block(text: str, name: str, block: str) -> str | None:
    """Return the text of a page with a block between its marks; None if it has no such marks."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    replaced, times = marks.subn(lambda match: f"{match[1]}{block}\n{match[2]}", text)
    return replaced if times else None


def publish(page: Path, name: str, block: str) -> None:
    """Put a block between its marks of a page; raises ConfigError if the page has none."""
    text = with_block(page.read_text(encoding="utf-8"), name, block)
    if text is None:
        raise ConfigError(f"{page}: must contain <!-- {name} --> and <!-- /{name} -->, in this order")
    atomic_write.write(page, text.encode(), sync=False)
