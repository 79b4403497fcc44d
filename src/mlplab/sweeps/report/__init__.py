"""What many runs say together: the configurations in their order, what is beyond chance, and what was not finished.

Imports neither torch nor Hydra, so that the answer is there in a second or two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from rich.console import Console

from mlplab.errors import CheckpointError, ConfigError
from mlplab.plots import canvas
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder
from mlplab.sweeps.report import charts, files, terminal
from mlplab.sweeps.report.comparison import Answer
from mlplab.sweeps.report.reference import Gain, explanation, gains, reference_of
from mlplab.sweeps.report.runs import Run, Unfinished, read_runs
from mlplab.sweeps.report.settings import printable
from mlplab.sweeps.report.table import Table
from mlplab.sweeps.report.wording import NO_RUN, about

WHERE_RUNS_ARE = "Runs are in outputs/, sweeps in outputs/sweeps/."


@dataclass(frozen=True)
class Report:
    folder: Path
    table: Table
    answer: Answer
    gains: tuple[Gain, ...]  # of levels of a setting that has a reference
    complete: tuple[Run, ...]
    unfinished: tuple[Unfinished, ...]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Over all runs below a folder, at any depth.

        Raises:
            CheckpointError: if there are none.
        """
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: there is no such folder. {WHERE_RUNS_ARE}")
        complete, unfinished = read_runs(folder)
        if not complete and not unfinished:
            raise CheckpointError(f"{folder}: holds no runs. {WHERE_RUNS_ARE}")
        table = Table.of(complete)
        if complete and unfinished:
            count = "1 run is" if len(unfinished) == 1 else f"{len(unfinished)} runs are"
            note = f"{count} not complete, see below: a configuration is ranked by those that are."
            table = replace(table, notes=(*table.notes, note))
        return cls(folder, table, Answer.of(table), tuple(gains(table)), tuple(complete), tuple(unfinished))

    def show(self, console: Console, written: Sequence[Path] = ()) -> None:
        """Print it; `written` are the files of `write`."""
        if self.table.configurations:
            terminal.show_table(console, self.table)
        else:
            console.print(NO_RUN)
        terminal.show_lines(console, "Notes", self.table.notes)
        if self.gains:
            console.print(f"\nAgainst {reference_of(self.gains[0].column)}\n", highlight=False, style="bold")
            terminal.show_gains(console, self.table, self.gains)
            terminal.show_lines(console, "How to read it", [explanation(self.gains)])
        terminal.show_lines(console, "Differences in validation accuracy", self.answer.sentences)
        terminal.show_lines(console, "Not complete", [about(run) for run in self.unfinished], wrap=False, most=None)
        terminal.show_lines(console, "Written", [run_folder.short(path) for path in written], wrap=False)

    def write(self, pictures: bool = True) -> list[Path]:
        """Put report.md, report.csv, runs.csv and the pictures into the folder, each whole or not at all.

        Raises:
            ConfigError: if it holds other files of these names, or a run; nothing is written then.
            CheckpointError: if it cannot be written to.
        """
        if (self.folder / "status.json").exists():  # whose curves.png is another
            raise ConfigError(f"{self.folder}: is a run itself, and a report of it is not written there.")
        drawn = {name: canvas.png(figure) for name, figure in charts.draw(self.table).items()} if pictures else {}
        title = f"Report of {printable(self.folder.resolve().name)}"
        texts = {
            "report.md": files.markdown(
                title, self.table, self.gains, self.answer.sentences, self.unfinished, list(drawn)
            ),
            "report.csv": files.configurations_csv(self.table),
            "runs.csv": files.runs_csv(self.table, self.complete, self.unfinished),
        }
        contents = {name: text.encode() for name, text in texts.items()} | drawn
        try:
            atomic_write.write_own({self.folder / name: content for name, content in contents.items()})
        except OSError as error:
            raise CheckpointError(f"{self.folder}: the report cannot be written there: {error.strerror}.") from error
        return [self.folder / name for name in contents]
