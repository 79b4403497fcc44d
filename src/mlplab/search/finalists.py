"""The end of a search: the best draws and the base configuration, trained again with new seeds.

The seeds that select the winner make it look better than it is (selection bias). So the winner and the base
configuration are trained once more with held-out seeds, and the figures of those are quoted.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mlplab.cli.run_name import label
from mlplab.search import records, winner
from mlplab.search.records import Final
from mlplab.search.winner import BEGINNING
from mlplab.sweeps.grid import LONGEST_LABEL
from mlplab.sweeps.job import folders

if TYPE_CHECKING:
    from mlplab.search.search import Search


def next_runs(search: "Search") -> list[Final]:
    """Return the runs to do next, some of which may have ended; none once all have."""
    number, seeds = search.settings.finalists, search.settings.seeds
    if not number:
        return []
    first = search.base.seed + 1
    leaders = winner.best(search.outcomes(), search.rules.rungs[-1])
    entrants = [draw for draw in leaders if draw != BEGINNING][:number]
    choosing = _runs(search, [*entrants, BEGINNING], range(first, first + seeds), chooses=True)
    if not _are_over(search, choosing):
        return choosing
    best = winner.chosen(search.folder, records.finalists(search.folder))
    if best is None:
        return []
    quoted = _runs(search, sorted({best, BEGINNING}), range(first + seeds, first + 2 * seeds), chooses=False)
    return [] if _are_over(search, quoted) else quoted


def _are_over(search: "Search", runs: Sequence[Final]) -> bool:
    became = [records.outcome(search.folder, run) for run in runs]
    return all(one.has_ended or one.has_failed for one in became)


def _runs(search: "Search", draws: Sequence[int], seeds: Iterable[int], chooses: bool) -> list[Final]:
    """Return the runs of these draws, and record the new ones."""
    known = {(run.draw, run.seed): run for run in records.finalists(search.folder)}
    wanted = [(draw, seed) for seed in seeds for draw in draws]
    new = {key: _run(search, *key, chooses) for key in wanted if key not in known}
    if new:
        records.add_finalists(search.folder, list(new.values()))
    return [{**known, **new}[key] for key in wanted]


def _run(search: "Search", draw: int, seed: int, chooses: bool) -> Final:
    values = search.drawn()[draw].values
    hash_ = search.candidates.config(values).model_copy(update={"seed": seed}).hash
    words = [f"{key}={value}" for key, value in values.items()] or ["beginning"]
    name = label([*words, f"seed={seed}"])[:LONGEST_LABEL]
    folder = folders(search.folder, {hash_: name})[hash_]
    return Final(draw, seed, chooses, name, hash_, folder.name)
