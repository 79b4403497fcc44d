"""New draws of a space: at random, by Optuna's TPE from earlier results, or as a grid."""

import itertools
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mlplab.search.space import LARGEST_COUNTED, Assignment, Dimension, Space

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 20  # attempts at a new draw, before a finite space is enumerated
MORE_ATTEMPTS = 500  # in a space that cannot be enumerated

IsNew = Callable[[Assignment], bool]


@dataclass(frozen=True)
class Trial:
    """An earlier draw for TPE, which ranks those of a higher rung above all of lower ones."""

    values: Assignment
    rung: int
    score: float  # the greater the better
    is_last_rung: bool


def grid(space: Space, number: int, is_new: IsNew) -> list[dict[str, str]]:
    return list(itertools.islice(filter(is_new, space.all()), number))


def at_random(space: Space, number: int, is_new: IsNew, seed: str) -> list[dict[str, str]]:
    """Draw values uniformly on their scales; fewer than `number` once the space is exhausted."""
    generator = random.Random(seed)
    draw = partial(_filled, space, lambda one: one.at(generator.random()))
    return _collect(space, number, is_new, generator, draw)


def by_tpe(space: Space, number: int, is_new: IsNew, seed: str, history: Sequence[Trial]) -> list[dict[str, str]]:
    """Draw by the tree-structured Parzen estimator; each draw takes the previous ones into account.

    The first ten draws are random. After Bergstra et al. 2011; multivariate, with a constant liar, as in Optuna 5.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    generator = random.Random(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # about `group`, which conditions need
        sampler = optuna.samplers.TPESampler(
            seed=generator.getrandbits(32),
            multivariate=True,
            constant_liar=True,
            group=any(one.condition for one in space.dimensions),
        )
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.add_trials([_frozen(space, trial) for trial in history])
    return _collect(space, number, is_new, generator, lambda: suggested(space, study.ask()))


def _collect(
    space: Space, number: int, is_new: IsNew, generator: random.Random, draw: Callable[[], dict[str, str]]
) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    is_finite = space.size <= LARGEST_COUNTED

    def is_free(values: Assignment) -> bool:
        return values not in found and is_new(values)

    while len(found) < number:
        drawn = (draw() for _ in range(ATTEMPTS if is_finite else MORE_ATTEMPTS))
        new = next(filter(is_free, drawn), None)
        if new is None and is_finite:  # draw from what is left
            left = list(filter(is_free, space.all()))
            new = generator.choice(left) if left else None
        if new is None:
            break
        found.append(new)
    return found


def suggested(space: Space, trial: "optuna.Trial") -> dict[str, str]:
    """Draw the values of an Optuna trial."""

    def suggest(one: Dimension) -> str:
        if one.choices and one.is_ordered:
            return one.choices[trial.suggest_int(one.key, 0, len(one.choices) - 1)]
        if one.choices:
            return str(trial.suggest_categorical(one.key, one.choices))
        if one.is_whole:
            return one.text(trial.suggest_int(one.key, int(one.low), int(one.high), log=one.is_log))
        return one.text(trial.suggest_float(one.key, one.low, one.high, log=one.is_log))

    return _filled(space, suggest)


def _filled(space: Space, value: Callable[[Dimension], str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for one in space.dimensions:
        if space.active(one, values):
            values[one.key] = value(one)
    return values


def _frozen(space: Space, trial: Trial) -> "optuna.trial.FrozenTrial":
    import optuna

    by_key = {one.key: one for one in space.dimensions if one.key in trial.values}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if trial.is_last_rung else optuna.trial.TrialState.PRUNED,
        params={key: _value(one, trial.values[key]) for key, one in by_key.items()},
        distributions={key: _distribution(one) for key, one in by_key.items()},
        value=trial.score,
        intermediate_values={trial.rung: trial.score},
    )


def _distribution(one: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choices and one.is_ordered:
        return IntDistribution(0, len(one.choices) - 1)
    if one.choices:
        return CategoricalDistribution(one.choices)
    if one.is_whole:
        return IntDistribution(int(one.low), int(one.high), log=one.is_log)
    return FloatDistribution(one.low, one.high, log=one.is_log)


def _value(one: Dimension, text: str) -> Any:
    if one.choices:
        return one.choices.index(text) if one.is_ordered else text
    return int(text) if one.is_whole else float(text)
