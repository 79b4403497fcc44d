"""A search as the workers see it: decides the next runs from the draws and their outcomes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mlplab.cli.run_name import label
from mlplab.config.schema import Config
from mlplab.errors import ConfigError
from mlplab.search import finalists, halving, learned, records, sampling
from mlplab.search.candidates import Candidates
from mlplab.search.halving import Outcome, Rules
from mlplab.search.learned import Learned
from mlplab.search.records import Drawn, Final
from mlplab.search.settings import Settings
from mlplab.search.space import Assignment
from mlplab.sweeps import job as job_file
from mlplab.sweeps.grid import LONGEST_LABEL, cost, data_set
from mlplab.sweeps.job import Job, folders
from mlplab.sweeps.queue import JOBS

WORST = -1e9  # the score of a draw that failed


class Search:
    """Decides the next runs, on any machine, under the lock of the folder.

    Args:
        folder: of the search.
        candidates: of its space.
        settings: of the search.
        rules: derived from the settings.
    """

    def __init__(self, folder: Path, candidates: Candidates, settings: Settings, rules: Rules) -> None:
        self.folder = folder
        self.candidates = candidates
        self.settings = settings
        self.rules = rules
        self.is_used_up = False  # the space, which may take long to find

    def more(self) -> bool:
        """Record the next runs; False once the search is over."""
        jobs = self.next_jobs()
        if jobs:
            job_file.write(self.folder / JOBS, jobs)
        return bool(jobs)

    def next_jobs(self) -> list[Job]:
        """Return the open jobs of the current wave, or of the finalists; none once the search is over."""
        wave = self.wave()
        drawn = self.drawn()
        jobs = [self.job(drawn[piece.draw], self.rules.rungs[piece.rung]) for piece in wave.pieces]
        if not wave.pieces:
            jobs = [self.final_job(one) for one in finalists.next_runs(self)]
        return [job for job in jobs if job.state() == "open"]

    def wave(self) -> halving.Wave:
        """Return the current wave, and make its draws."""
        while True:
            drawn, outcomes = self.drawn(), self.outcomes()
            wave = halving.current(self.rules, [one.draw for one in drawn], outcomes.__getitem__, self.is_used_up)
            if not wave.to_draw:
                return wave
            minutes = self.settings.minutes
            if drawn and minutes is not None and records.is_time_over(self.folder, minutes):
                self.rules = replace(self.rules, waves=wave.number)
                continue
            made = self._draw(wave, drawn, outcomes)
            self.is_used_up = not made
            records.add(self.folder, made)

    def drawn(self) -> list[Drawn]:
        return records.draws(self.folder)

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of each draw, by number."""
        return [records.outcome(self.folder, one, self.base.monitor) for one in self.drawn()]

    def job(self, drawn: Drawn, until: int | None = None) -> Job:
        """Return the job of a draw, to the end or to an earlier epoch."""
        epochs = self.rules.rungs[-1]
        return Job(
            folder=records.place_of(self.folder, drawn),
            overrides=tuple(drawn.overrides),
            label=drawn.label,
            hash=drawn.hash,
            data=data_set(self.base),
            reading=self.base.data.reading,
            epochs=epochs,
            cost=drawn.cost * (until or epochs) / epochs,
            until=until or epochs,
            attempts=records.ATTEMPTS,
        )

    @cached_property
    def learned(self) -> list[Learned]:
        """Complete runs of a grid in the folder, or in the folders of search.learn_from."""
        return list(learned.runs([self.folder, *map(Path, self.settings.learn_from)]))

    @cached_property
    def base(self) -> Config:
        """The base configuration: every key of the space has its default."""
        return self.candidates.config({})

    def final_job(self, final: Final) -> Job:
        """Return the job of a finalist's full run with a new seed."""
        drawn = self.drawn()[final.draw]
        job = self.job(replace(drawn, folder=final.folder, hash=final.hash, label=final.label))
        return replace(job, overrides=(*job.overrides, f"seed={final.seed}"))

    def _draw(self, wave: halving.Wave, drawn: Sequence[Drawn], outcomes: Sequence[Outcome]) -> list[Drawn]:
        """Draw for a wave; the first draw of a search is the base configuration."""
        known = {one.hash for one in drawn}
        begin: list[Assignment] = [] if drawn else [{}]
        known |= {self.candidates.config(values).hash for values in begin}
        wanted = wave.to_draw - len(begin)

        def is_new(values: Assignment) -> bool:
            try:
                return self.candidates.config(values).hash not in known
            except ConfigError:  # values that are valid alone, but not together
                return False

        space, seed = self.candidates.space, f"{self.settings.seed} {wave.number}"
        trials = list(self._trials(wave.known, drawn, outcomes)) if self.settings.sampler == "tpe" else []
        if self.settings.sampler == "grid":
            found = sampling.grid(space, wanted, is_new)
        elif trials:
            found = sampling.by_tpe(space, wanted, is_new, seed, trials)
        else:
            found = sampling.at_random(space, wanted, is_new, seed)
        return list(_records(self, wave.number, len(drawn), [*begin, *self._distinct(found)]))

    def _distinct(self, found: Sequence[Assignment]) -> list[Assignment]:
        """Drop repeated configurations."""
        return list({self.candidates.config(values).hash: values for values in reversed(found)}.values())[::-1]

    def _trials(
        self, known: Mapping[int, int], drawn: Sequence[Drawn], outcomes: Sequence[Outcome]
    ) -> Iterator[sampling.Trial]:
        rungs, own = self.rules.rungs, {one.hash for one in drawn}
        for other in self.learned:
            trial = other.trial(self.candidates.space, self.base.monitor)
            if trial is not None and other.result.config_hash not in own:
                yield trial
        for number, rung in known.items():
            if drawn[number].values:
                figure = outcomes[number].at(rungs[rung])
                score, is_complete = (WORST, False) if figure is None else (figure.score, rung == len(rungs) - 1)
                yield sampling.Trial(drawn[number].values, rungs[0 if figure is None else rung], score, is_complete)


def _records(search: Search, wave: int, first: int, found: Sequence[Assignment]) -> Iterator[Drawn]:
    """Give each draw of a wave its label and its folder."""
    space, configs = search.candidates.space, [search.candidates.config(values) for values in found]
    varied = [[f"{key}={value}" for key, value in values.items() if key not in space.fixed] for values in found]
    labels = [label(words)[:LONGEST_LABEL] or "beginning" for words in varied]
    elsewhere = {run.result.config_hash: run.folder for run in search.learned}
    hashes = [config.hash for config in configs]
    places = {**folders(search.folder, dict(zip(hashes, labels, strict=True))), **elsewhere}
    for position, (values, config) in enumerate(zip(found, configs, strict=True)):
        yield Drawn(
            number=first + position,
            wave=wave,
            of=len(found),
            pool=search.candidates.pool(config),
            values=values,
            overrides=space.overrides(values),
            label=labels[position],
            hash=config.hash,
            folder=os.path.relpath(places[config.hash], search.folder),
            cost=cost(config),
        )
