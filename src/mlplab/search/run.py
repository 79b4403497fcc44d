"""Runs a search: plan, workers and report."""

import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from mlplab.config.datasets import OWN
from mlplab.config.fields import fields
from mlplab.config.schema import Config, keys_that_affect
from mlplab.data import download
from mlplab.errors import ConfigError, Interrupted, JobsFailedError
from mlplab.runs import folder as run_folder
from mlplab.runs import folder_lock
from mlplab.runs.result import forget_failures
from mlplab.search import answer, preset, records, sampling
from mlplab.search.candidates import Candidates
from mlplab.search.halving import PROMOTED
from mlplab.search.records import Drawn, Final
from mlplab.search.search import Search
from mlplab.search.settings import Settings
from mlplab.search.space import Space
from mlplab.sweeps import run as sweep
from mlplab.sweeps import stop
from mlplab.sweeps.display import shown
from mlplab.sweeps.grid import cost, data_set
from mlplab.sweeps.queue import Queue, led
from mlplab.sweeps.worker import Recipe

SAMPLE = 16  # draws, for an estimate
RISING = ("OneCycleLR", "CyclicLR")  # schedules whose learning rate rises at first


def run(composed: DictConfig, loader: ConfigLoader, arguments: list[str]) -> None:
    """Run or resume a search; raises ConfigError for mistakes, Interrupted after a signal, JobsFailedError."""
    sweep.refuse(composed)
    folder = Path(composed.hydra.sweep.dir).absolute()
    search, asked = _read(folder, Recipe(loader, composed), arguments)
    folder_lock.refuse_others(folder)
    queue = Queue(folder, search.more)
    is_begun = records.begun(folder, asked)
    if is_begun and search.settings.minutes is not None:
        records.restart_clock(folder)
    is_done = is_begun and queue.is_over()
    plan = (
        [f"{run_folder.short(folder)}: the search is complete. There is nothing to do."] if is_done else _plan(search)
    )
    print("\n".join(plan), flush=True)  # before importing torch, which takes seconds
    name, root = data_set(search.base)
    download.require(name, Path(root))
    if not is_done:
        if name in OWN:
            asked["files"] = _fingerprint(search)
            records.begun(folder, asked)
        with led(folder, OmegaConf.to_yaml(composed).encode(), lambda: records.is_same(folder, asked)) as leads:
            if leads:
                records.begin(folder, asked)
                _forget_failures(search)
            queue.is_over()  # records the first wave
            with shown(queue.jobs, lambda: _progress(search)):
                sweep.train(queue, max(search.rules.wave, 1), search.candidates.recipe)
    _conclude(search, None if is_done else stop.asked(folder))


def _progress(search: Search) -> str:
    drawn, outcomes = search.drawn(), search.outcomes()
    figures = [figure for one in outcomes if (figure := one.at(search.rules.rungs[0]))]
    best = f", best so far {max(max(one.figures) for one in outcomes if one.figures).accuracy:.2%}" if figures else ""
    complete = sum(one.at(search.rules.rungs[-1]) is not None for one in outcomes)
    finals = len(records.finalists(search.folder))
    return f"{len(drawn)} draws, {complete} of them complete{best}{f'; {finals} runs of finalists' if finals else ''}"


def _conclude(search: Search, stopped: stop.Stop | None) -> None:
    """Print the report, and raise the error with which the search ended."""
    sweep.refuse_if_stopped(stopped)
    runs: list[Drawn | Final] = [*search.drawn(), *records.finalists(search.folder)]
    if not runs:
        return
    is_over = stopped is None and Queue(search.folder, search.more).is_over()
    if is_over and search.settings.keep == "complete":
        _tidy(search)
    sweep.report(search.folder, answer.report)
    if search.is_used_up:
        print("The space is exhausted: it has no other valid configuration.")
    if stopped is not None:
        so_far = f"The search has {len(search.drawn())} draws so far."
        raise Interrupted(stopped.code - 128, f"{so_far} Resume with: {sweep.command(search.folder)}")
    failed = sum(records.outcome(search.folder, run).has_failed for run in runs)
    if failed:
        raise JobsFailedError(f"{failed} of {len(runs)} runs failed and count as the worst.")
    if not is_over:
        raise JobsFailedError(f"The search is not complete. Resume with: {sweep.command(search.folder)}")


def _read(folder: Path, recipe: Recipe, arguments: Sequence[str]) -> tuple[Search, dict[str, Any]]:
    """Read space and settings of a command; also return the content of search.json.

    Raises:
        ConfigError: with a line for each mistake.
    """
    given = OmegaConf.to_container(recipe.composed.search)
    assert isinstance(given, dict)
    words = OverridesParser.create(config_loader=recipe.loader).parse_overrides([*preset.words(recipe), *arguments])
    settings, mistakes = Settings.of({str(key): value for key, value in given.items()})
    space, of_space = Space.of([word for word in words if not _is_of_the_search(word)])
    candidates = Candidates(space, recipe)
    mistakes += dict.fromkeys([*of_space, *candidates.mistakes()])
    if not of_space and not space.dimensions:
        mistakes.append("search: nothing to search; give a key several values, or a range such as interval(1e-4,1e-1)")
    missing = [name for name in (settings.learn_from if settings else ()) if not Path(name).is_dir()]
    mistakes += [f"search.learn_from: {name}: there is no such folder" for name in missing]
    if settings is None or mistakes:
        raise ConfigError("\n".join(mistakes))
    if settings.sampler == "grid" and space.size == math.inf:
        raise ConfigError("search.sampler: a grid needs values, not ranges; give values, or choose another sampler")
    if settings.sampler == "tpe" and find_spec("optuna") is None:
        raise ConfigError("search.sampler=tpe: optuna is not installed: pip install -e '.[search]', or sampler=random")
    base = candidates.config({})
    if not base.validates:
        raise ConfigError("data.val_size: a search needs validation images to compare draws by")
    if base.trainer.check_val_every_n_epoch != 1:
        raise ConfigError(
            "trainer.check_val_every_n_epoch: must be 1 in a search, which compares draws after any epoch"
        )
    if base.monitor not in ("val/loss", "val/acc"):
        raise ConfigError(f"monitor: a search compares draws by val/loss or val/acc, got {base.monitor}")
    warms_up = base.scheduler.warmup > 0 or base.scheduler.name in RISING
    rules = settings.rules(base.trainer.max_epochs, warms_up)
    asked = {
        "space": [str(one) for one in space.dimensions],
        "log_scales": [one.key for one in space.dimensions if one.is_drawn_on_log],
        "fixed": sorted(f"{key}={value}" for key, value in space.fixed.items() if _affects_runs(key)),
        "monitor": base.monitor,
        "rungs": list(rules.rungs),
        "settings": settings.model_dump(mode="json"),
    }
    return Search(folder, candidates, settings, rules), asked


def _forget_failures(search: Search) -> None:
    """Forget failures before this command; they may be due to the machine or to a kill of the search."""
    runs: list[Drawn | Final] = [*search.drawn(), *records.finalists(search.folder)]
    for one in runs:
        if not records.outcome(search.folder, one, search.base.monitor).has_failed:
            forget_failures(records.place_of(search.folder, one))


def _fingerprint(search: Search) -> str:
    """Return a hash that changes if own data change after the search began; imports torch."""
    from mlplab.data.own import own_data

    data = search.base.data
    return own_data.fingerprint(data.key, Path(data.root), data.reading)


def _tidy(search: Search) -> None:
    """Delete the checkpoints of draws that did not reach the last rung; their metrics are kept."""
    for drawn, outcome in zip(search.drawn(), search.outcomes(), strict=True):
        place = records.place_of(search.folder, drawn)
        if outcome.at(search.rules.rungs[-1]) is None and place.parent == search.folder:
            last = run_folder.checkpoint(place, "last")
            for path in (last, run_folder.previous(last), run_folder.checkpoint(place, "best")):  # best needs no last
                path.unlink(missing_ok=True)


def _is_of_the_search(word: Override) -> bool:
    key = word.get_key_element()
    return key in ("search", "sweep_name", "jobs") or key.startswith(("search.", "launcher"))


def _affects_runs(key: str) -> bool:
    """Tell whether a key or group affects the training, not only where data lie and what is shown."""
    known = [one for one in fields(Config) if one == key or one.startswith(f"{key}.")]
    return not known or not keys_that_affect("nothing").issuperset(known)


def _mean_cost(candidates: Candidates) -> float:
    """Estimate the seconds of a full run: the mean over some draws."""
    drawn = sampling.at_random(candidates.space, SAMPLE, lambda _: True, "cost")
    costs = []
    for values in drawn:
        with suppress(ConfigError):  # values that are valid alone, but not together
            costs.append(cost(candidates.config(values)))
    return statistics.fmean(costs or [cost(candidates.config({}))])


def _plan(search: Search) -> Iterator[str]:
    """Describe the space and the cost of a search."""
    rules, settings, space = search.rules, search.settings, search.candidates.space
    yield f"{run_folder.short(search.folder)}: a search"
    yield from (f"  {one}" for one in space.dimensions)
    if settings.minutes is not None:
        yield f"{settings.minutes:g} minutes of draws to epoch {', '.join(map(str, rules.rungs))}"
        return
    draws = min(rules.expected_draws(), space.size)
    finals = (settings.finalists + 3) * settings.seeds if settings.finalists else 0
    pieces = [draws * PROMOTED**rung for rung in range(len(rules.rungs))]
    yield ", ".join(
        f"about {number:.0f} draw{'s' * (round(number) != 1)} to epoch {rung}"
        if not place
        else f"the best {max(1, number):.0f} to {rung}"
        for place, (number, rung) in enumerate(zip(pieces, rules.rungs, strict=True))
    )
    if finals:
        yield f"then {finals} runs with new seeds, of the best {settings.finalists} and of the base configuration"
    whole_runs = min(settings.budget, draws * rules.epochs_a_draw() / rules.rungs[-1]) + finals
    minutes = _mean_cost(search.candidates) * whole_runs / 60
    yield f"equivalent to {whole_runs:.3g} full runs: about {max(1, round(minutes))} minutes on one core"
