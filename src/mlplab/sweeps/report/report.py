"""A report, printed and as files. Imports neither torch nor Hydra, so that it takes only a second or two."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console

from mlplab.errors import CheckpointError, ConfigError
from mlplab.plots import canvas
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder
from mlplab.runs.result import outcome
from mlplab.sweeps.report import baseline, cells, charts, files, terminal
from mlplab.sweeps.report.baseline import Difference
from mlplab.sweeps.report.cells import Section
from mlplab.sweeps.report.conclusions import Conclusions
from mlplab.sweeps.report.runs import Run, Unfinished, read_runs
from mlplab.sweeps.report.settings import printable
from mlplab.sweeps.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHERE_RUNS_ARE = "Runs are in outputs/, sweeps in outputs/sweeps/."


@dataclass(frozen=True)
class Report:
    folder: Path
    table: Table
    conclusions: Conclusions
    differences: tuple[Difference, ...]  # from a baseline, if a setting has one
    complete: tuple[Run, ...]
    unfinished: tuple[Unfinished, ...]
    answer: tuple[Section, ...] = ()  # text before the ranking
    pictures: Callable[[str], Mapping[str, "Figure"]] = lambda _: {}  # of a title, added to those of the table

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read all runs below a folder, at any depth.

        Raises:
            CheckpointError: if there are none.
        """
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: there is no such folder. {WHERE_RUNS_ARE}")
        complete, unfinished = read_runs(folder)
        if not complete and not unfinished:
            raise CheckpointError(f"{folder}: holds no runs. {WHERE_RUNS_ARE}")
        table = Table.of(complete)
        differences = tuple(baseline.differences(table))
        return cls(folder, table, Conclusions.of(table), differences, tuple(complete), tuple(unfinished))

    @property
    def sections(self) -> Iterator[Section]:
        missing = [run for run in self.unfinished if run.status != "paused"]
        table, count, paused = self.table, len(missing), len(self.unfinished) - len(missing)
        yield from self.answer
        heading = "All complete runs" if self.answer else ""
        yield Section(heading, *((cells.ranking(table),) if self.complete else ((), ["No run is complete."])))
        some = f"{count} {'run is' if count == 1 else 'runs are'} incomplete, see below"
        incomplete = [f"{some}; configurations are ranked by their complete runs."] if count and self.complete else []
        waiting = [f"{paused} {'run is' if paused == 1 else 'runs are'} paused, and not ranked."] if paused else []
        yield Section("Notes", lines=[*table.notes, *incomplete, *waiting])
        if self.differences:
            yield self.against_baseline
        yield Section("Differences in validation accuracy", lines=self.conclusions.sentences)
        yield Section("Not complete", lines=[_outcome(run) for run in missing], is_to_copy=True)

    @property
    def against_baseline(self) -> Section:
        heading = f"Against {baseline.level_of(self.differences[0].factor)}"
        columns = cells.differences(self.table, self.differences)
        return Section(heading, columns, [baseline.explanation(self.differences)])

    def show(self, console: Console, written: Sequence[Path] = ()) -> None:
        """Print the sections, and the names of the files written by `write`."""
        paths = [run_folder.short(path) for path in written]
        for section in (*self.sections, Section("Written", lines=paths, is_to_copy=True)):
            terminal.show(console, section)

    def write(self, pictures: bool = True) -> list[Path]:
        """Write report.md, report.csv, runs.csv and the pictures into the folder, each atomically.

        Raises:
            ConfigError: if the folder is a run, or holds foreign files of these names; then nothing is written.
            CheckpointError: if it cannot be written to.
        """
        if (self.folder / "status.json").exists():  # it has another curves.png
            raise ConfigError(f"{self.folder}: is a single run; no report is written into it.")
        of_folder = printable(self.folder.resolve().name)
        heading = charts.heading(of_folder, self.table)
        figures = {**self.pictures(heading), **charts.draw(self.table, heading)} if pictures else {}
        drawn = {name: canvas.png(figure) for name, figure in figures.items()}
        title = f"Report of {of_folder}"
        texts = {
            "report.md": files.markdown(title, self.sections, list(drawn)),
            "report.csv": files.as_csv(cells.ranking(self.table)),
            "runs.csv": files.as_csv(cells.runs(self.table, self.complete, self.unfinished)),
        }
        contents = {name: text.encode() for name, text in texts.items()} | drawn
        try:
            atomic_write.write_own({self.folder / name: content for name, content in contents.items()})
        except OSError as error:
            raise CheckpointError(f"{self.folder}: the report cannot be written: {error.strerror}.") from error
        return [self.folder / name for name in contents]


def _outcome(run: Unfinished) -> str:
    log = printable(run_folder.short(run.log)) if run.log else "no log"
    return f"{run.name}: {outcome(run.status, run.reason)} ({log})"
