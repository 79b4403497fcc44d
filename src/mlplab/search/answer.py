"""The result of a search: the winner, its improvement, and the selection bias. Imports neither torch nor Hydra."""

import shlex
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, get_args

from mlplab.errors import ConfigError
from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result, read_result
from mlplab.search import charts, records, winner
from mlplab.search.halving import Outcome
from mlplab.search.importance import Importance, importances
from mlplab.search.records import Drawn, Final
from mlplab.search.winner import BEGINNING
from mlplab.sweeps.report import Report
from mlplab.sweeps.report.cells import Column, Columns, Section
from mlplab.sweeps.report.comparison import Comparison
from mlplab.sweeps.report.table import Spread

Seeds = Literal["choosing", "quoted"]  # seeds that select the winner, and held-out seeds
SEEDS: tuple[Seeds, ...] = get_args(Seeds)
IMPORTANCE = (
    "A key has a large share if the best quarter of these draws, after epoch {}, has other values of it than all draws"
    " (PED-ANOVA); the ends are those of 95 % of resampled draws."
)


def report(folder: Path) -> Report:
    """Return the report of a folder, with the result of its search, if there is one."""
    if records.read(folder) is None:
        return Report.of(folder)
    found = of(folder)
    pictures = partial(charts.draw, found.drawn, found.outcomes, found.rungs, found.log_scales)
    return replace(Report.of(folder), answer=tuple(found.sections()), pictures=pictures)


def of(folder: Path) -> "Answer":
    """Return the result of a search.

    Raises:
        ConfigError: if the folder holds no search.
    """
    asked = records.read(folder)
    if asked is None:
        raise ConfigError(f"{run_folder.short(folder)}: holds no search.")
    return Answer(folder, tuple(asked["rungs"]), asked["monitor"], frozenset(asked["log_scales"]))


@dataclass(frozen=True)
class Finalist:
    """A draw with its full runs of new seeds."""

    drawn: Drawn
    choosing: Sequence[Result]
    quoted: Sequence[Result]  # of held-out seeds

    @property
    def name(self) -> str:
        is_beginning = self.drawn.number == BEGINNING
        return "the base configuration" if is_beginning else ", ".join(_values(self.drawn))

    @property
    def test(self) -> Spread:
        """Test accuracy, of the held-out seeds if there are any."""
        return Spread.of([result.metrics["test/acc"] for result in self.quoted or self.choosing])

    @property
    def seconds(self) -> float:
        """Mean seconds of training."""
        return statistics.fmean(result.fit_s for result in (*self.choosing, *self.quoted))

    def by_seed(self, what: Seeds) -> dict[int, float]:
        """Validation accuracy by seed."""
        return {result.seed: result.metrics["val/acc"] for result in getattr(self, what)}

    def spread(self, what: Seeds) -> Spread:
        return Spread.of(list(self.by_seed(what).values()))


@dataclass(frozen=True)
class Answer:
    folder: Path
    rungs: tuple[int, ...]
    monitor: str  # by which runs were compared
    log_scales: frozenset[str]  # keys whose values charts show on a log scale

    @cached_property
    def drawn(self) -> list[Drawn]:
        return records.draws(self.folder)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        return [records.outcome(self.folder, one, self.monitor) for one in self.drawn]

    @cached_property
    def finals(self) -> list[Final]:
        return records.finalists(self.folder)

    @cached_property
    def finalists(self) -> dict[int, Finalist]:
        """Finalists by draw, first the one with the best mean over the selecting seeds."""
        results: defaultdict[tuple[int, bool], list[Result]] = defaultdict(list)
        for final in self.finals:
            if result := read_result(records.place_of(self.folder, final)):
                results[final.draw, final.chooses].append(result)
        chosen_from = [draw for draw, chooses in results if chooses]
        tried = {draw: Finalist(self.drawn[draw], results[draw, True], results[draw, False]) for draw in chosen_from}
        return dict(sorted(tried.items(), key=lambda item: -item[1].spread("choosing").mean))

    @property
    def winner(self) -> Finalist | None:
        best = winner.chosen(self.folder, self.finals)
        return None if best is None else self.finalists[best]

    def sections(self) -> Iterator[Section]:
        if self.winner is not None and self.winner.quoted:
            yield Section("Winner", lines=list(self._verdict(self.winner)), command=_command(self.winner.drawn))
        elif leaders := winner.best(self.outcomes, self.rungs[-1]):
            drawn = self.drawn[leaders[0]]
            yield Section("Best draw so far", lines=list(self._best_so_far(drawn)), command=_command(drawn))
        if self.finalists:
            yield Section("Finalists", self._finalists())
        yield Section("Rungs", self._rungs())
        if found := self._importances():
            yield Section("Importance", self._shares(found), [IMPORTANCE.format(self.rungs[0])])

    def _verdict(self, best: Finalist) -> Iterator[str]:
        quoted, test, seeds = best.spread("quoted"), best.test, len(best.quoted)
        yield best.name
        yield f"validation {percent(quoted)} over {seeds} held-out seeds; test {percent(test)}"
        seen = self.outcomes[best.drawn.number].at(self.rungs[-1])
        if seen is not None and best.drawn.number != BEGINNING:
            hopeful = 100 * (seen.accuracy - quoted.mean)
            yield (
                f"the search itself measured {100 * seen.accuracy:.2f} %, the best of {len(self.drawn)} draws:"
                f" {abs(hopeful):.2f} points too {'optimistic' if hopeful > 0 else 'pessimistic'}"
            )
        yield from self._against_the_beginning(best)
        yield from self._not_told_apart(best)

    def _best_so_far(self, drawn: Drawn) -> Iterator[str]:
        figure = self.outcomes[drawn.number].at(self.rungs[-1])
        assert figure is not None
        yield ", ".join(_values(drawn)) or "the base configuration"
        chosen = f"the best of {len(self.drawn)} draws with one seed"
        yield f"validation {100 * figure.accuracy:.2f} %, too optimistic: {chosen}"

    def _against_the_beginning(self, best: Finalist) -> Iterator[str]:
        if best.drawn.number == BEGINNING:
            yield "nothing that was found is better than the base configuration"
            return
        base = self.finalists.get(BEGINNING)
        if base is None:
            yield "the base configuration failed"
        elif told := _compared(best, base, "quoted", 2):
            yield f"held-out seeds: {told.sentence().removeprefix('search: ')}"

    def _not_told_apart(self, best: Finalist) -> Iterator[str]:
        """Yield the finalists that may be as good as the winner, and the fastest of them."""
        others = [one for one in self.finalists.values() if one is not best]
        compared = {one.drawn.number: _compared(best, one, "choosing", len(others) + 1) for one in others}
        alike = [one for one in others if (told := compared[one.drawn.number]) and not _is_better(told, best)]
        for one in alike:
            told = compared[one.drawn.number]
            if told is not None and one.drawn.number != BEGINNING:  # that is compared by held-out seeds
                yield f"choosing seeds: {told.sentence().removeprefix('search: ')}"
        cheapest = min([best, *alike], key=lambda one: one.seconds)
        if cheapest is not best:
            share = cheapest.seconds / best.seconds
            yield f"the fastest of these, {cheapest.name}, takes {share:.2f} times as long to train as the winner"

    def _finalists(self) -> Columns:
        found = list(self.finalists.values())
        seen = [self.outcomes[one.drawn.number].at(self.rungs[-1]) for one in found]
        columns = [
            Column("draw", [one.name for one in found], is_setting=True),
            Column("search %", [figure and figure.accuracy for figure in seen], _hundredfold),
        ]
        for what in SEEDS:
            if any(getattr(one, what) for one in found):
                spreads = [one.spread(what) if getattr(one, what) else None for one in found]
                columns.append(Column(f"{what} %", [spread and spread.mean for spread in spreads], _hundredfold))
                columns.append(Column("sd", [spread and spread.sd for spread in spreads], _hundredfold))
        tests, seconds = [one.test.mean for one in found], [one.seconds for one in found]
        return [*columns, Column("test %", tests, _hundredfold), Column("train s", seconds, "{:.1f}".format)]

    def _importances(self) -> list[Importance]:
        first = [(one.values, became.at(self.rungs[0])) for one, became in zip(self.drawn, self.outcomes, strict=True)]
        known = [(values, figure.score) for values, figure in first if values and figure]
        return importances([values for values, _ in known], [accuracy for _, accuracy in known])

    def _shares(self, found: Sequence[Importance]) -> Columns:
        return [
            Column("key", [one.key for one in found], is_setting=True),
            Column("share %", [one.share for one in found], lambda share: f"{100 * share:.0f}"),
            Column("from", [one.low for one in found], lambda share: f"{100 * share:.0f}"),
            Column("to", [one.high for one in found], lambda share: f"{100 * share:.0f}"),
        ]

    def _rungs(self) -> Columns:
        reached = [[figure for one in self.outcomes if (figure := one.at(rung))] for rung in self.rungs]
        return [
            Column("epochs", self.rungs),
            Column("draws", list(map(len, reached))),
            Column("best %", [max(figures).accuracy if figures else None for figures in reached], _hundredfold),
        ]


def _command(drawn: Drawn) -> str:
    return f"python train.py {shlex.join(drawn.overrides)}"


def _values(drawn: Drawn) -> list[str]:
    """Format the values of a draw: hidden=256, optimizer=adam, lr=0.0021."""
    return [f"{key.rpartition('.')[2]}={value}" for key, value in drawn.values.items()]


def percent(spread: Spread) -> str:
    return f"{100 * spread.mean:.2f}{f' ± {100 * spread.sd:.2f}' if spread.sd is not None else ''} %"


def _compared(one: Finalist, other: Finalist, what: Seeds, among: int) -> Comparison | None:
    """Compare two finalists over their common seeds; None with fewer than two."""
    accs, others = one.by_seed(what), other.by_seed(what)
    differences = {seed: accs[seed] - others[seed] for seed in sorted(accs.keys() & others.keys())}
    return Comparison.of("search", one.name, other.name, differences, among) if len(differences) > 1 else None


def _is_better(told: Comparison, best: Finalist) -> bool:
    return told.first == best.name and (not told.has_spread or told.interval()[0] > 0)


def _hundredfold(share: float) -> str:
    return f"{100 * share:.2f}"
