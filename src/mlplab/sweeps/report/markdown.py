"""A report in Markdown."""

from collections.abc import Iterable, Sequence

from mlplab.sweeps.report.cells import Columns, Section


def page(title: str, sections: Iterable[Section], pictures: Sequence[str]) -> str:
    parts = [f"# {_escaped(title)}"]
    for one in sections:
        if one.heading and (one.columns or one.lines):
            parts.append(f"## {_escaped(one.heading)}")
        parts += content(one)
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n\n".join(parts) + "\n"


def content(section: Section) -> list[str]:
    """The paragraphs of a section without its heading: its table, and its lines, as a list where there are several."""
    bullet = "- " if section.heading and not section.columns else ""
    lines = "\n".join(f"{bullet}{_escaped(line)}" for line in section.lines)
    return [part for part in (_table(section.columns), lines) if part]


def _table(columns: Columns) -> str:
    shown = [column for column in columns if column.heading]
    sides = ["---" if column.is_setting or column.heading == "rank" else "---:" for column in shown]
    rows = zip(
        *([column.heading, side, *column.texts()] for column, side in zip(shown, sides, strict=True)), strict=True
    )
    return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows)


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in r"\|*_`<[" else sign for sign in text)
