"""Table of tries and their outcomes."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from mlplab.runs import marked_page


@dataclass
class Report:
    counts: dict[str, list[int]] = field(default_factory=dict)  # by kind of try: tries, and successful ones
    failures: list[str] = field(default_factory=list)

    def add(self, what: str, problems: list[str]) -> None:
        """Add a try; it went well if there are no problems."""
        tries = self.counts.setdefault(what, [0, 0])
        tries[0] += 1
        tries[1] += not problems
        self.failures += [f"{what}: {problem}" for problem in problems]
        if problems:
            print(f"FAILED {what}: {problems}", flush=True)

    def show(self) -> None:
        width = max(map(len, self.counts))
        print(f"\n{'':{width}}  tries   good")
        for what, (tries, good) in self.counts.items():
            print(f"{what:{width}}  {tries:5}  {good:5}{'' if tries == good else '  <--'}")
        for failure in self.failures[:20]:
            print(failure)

    def publish(self, page: Path) -> None:
        """Put the table between the marks of a page, a row for all variants of one try; rows of other tries stay."""
        summed: dict[str, list[int]] = {}
        for what, counts in self.counts.items():
            row = summed.setdefault(what.partition(",")[0], [0, 0])
            row[:] = (total + count for total, count in zip(row, counts, strict=True))
        before = re.findall(r"^\| (.+) \| (\d+) \| (\d+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
        found = {what: (tries, good) for what, tries, good in before} | summed
        rows = [f"| {what} | {tries} | {good} |" for what, (tries, good) in found.items()]
        marked_page.publish(page, "torture", "\n".join(["| tried | times | went well |", "|---|---:|---:|", *rows]))
