"""The draws of a search as a journal for optuna-dashboard."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlplab.errors import CheckpointError, ConfigError
from mlplab.search.answer import Answer
from mlplab.search.halving import Outcome
from mlplab.search.values import numbers


def write_journal(answer: Answer, path: Path) -> None:
    """Write every draw with its accuracy after each epoch; paused draws count as pruned.

    Raises:
        ConfigError: if Optuna is not installed, or the file exists.
        CheckpointError: if it cannot be written.
    """
    if find_spec("optuna") is None:
        raise ConfigError("--optuna: optuna is not installed: pip install -e '.[search]'")
    if os.path.lexists(path):
        raise ConfigError(f"{path}: is there already. Give another name.")
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(storage=storage, study_name=answer.folder.name, direction="maximize")
        spaces = _distributions([one.values for one in answer.drawn])
        for drawn, became in zip(answer.drawn, answer.outcomes, strict=True):
            study.add_trial(_trial(drawn.values, {key: spaces[key] for key in drawn.values}, became))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error


def _trial(texts: Mapping[str, str], spaces: dict[str, Any], became: Outcome) -> Any:
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    state = TrialState.FAIL if became.has_failed else TrialState.COMPLETE if became.has_ended else TrialState.PRUNED
    return create_trial(
        state=state,
        params={
            key: float(text) if isinstance(spaces[key], FloatDistribution) else text for key, text in texts.items()
        },
        distributions=spaces,
        value=max(became.figures).accuracy if became.figures and state != TrialState.FAIL else None,
        intermediate_values={epoch: figure.accuracy for epoch, figure in enumerate(became.figures, 1)},
    )


def _distributions(drawn: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    texts: dict[str, list[str]] = {}
    for values in drawn:
        for key, text in values.items():
            texts.setdefault(key, []).append(text)
    found: dict[str, Any] = {}
    for key, some in texts.items():
        ends = numbers(some) if len(set(some)) > 1 else []
        found[key] = FloatDistribution(min(ends), max(ends)) if ends else CategoricalDistribution(sorted(set(some)))
    return found
