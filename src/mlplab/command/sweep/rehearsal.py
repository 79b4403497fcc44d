"""What torch, Lightning and the data say of a sweep: heard once, before many runs say the same.

It is heard in a process of its own, so that the one that leads the sweep needs none of the memory of torch.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from mlplab import isolation
from mlplab.command.job import DATA
from mlplab.command.sweep.standing import Place, data_of
from mlplab.config import Config
from mlplab.errors import ConfigError, DataError

Data = list[tuple[str, str]]


def rehearse(places: Sequence[Place]) -> None:
    """Raises ConfigError with a line for each mistake, or DataError."""
    data = data_of(places)
    os.environ[DATA] = json.dumps(data)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # joblib would share the cores out among its workers
    isolation.preload(["mlplab.preload"])
    try:
        isolation.run(_hear, (_that_differ([place.job.config for place in places]), data), lambda: None)
    except isolation.Ended as ended:
        known = {error.exit_code: error for error in (ConfigError, DataError)}
        raise known.get(ended.code, RuntimeError)(ended.reason) from None


def _that_differ(configs: list[Config]) -> list[Config]:
    """In more than their seeds and networks."""
    alike = {config.model_copy(update={"seed": 0, "model": configs[0].model}).hash: config for config in configs}
    return list(alike.values())


def _hear(configs: list[Config], data: Data) -> None:
    from mlplab import datasets
    from mlplab.training import rehearse as rehearse_one

    mistakes: dict[str, None] = {}  # a set that keeps the order
    for config in configs:
        try:
            rehearse_one(config)
        except ConfigError as error:
            mistakes |= dict.fromkeys(str(error).splitlines())
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    for name, root in data:
        datasets.load(name, Path(root))
