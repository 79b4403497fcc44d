"""The settings of a search: the keys search.* of the configuration."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlplab.config.spelling import did_you_mean
from mlplab.errors import ConfigError
from mlplab.search.halving import SHARE, Rules

MOST_RUNGS = 3


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    sampler: Literal["tpe", "random", "grid"] = Field(description="Optuna's TPE, random draws, or every combination")
    budget: Annotated[float, Field(gt=0, le=1e6)] = Field(
        description="epochs of all draws together, in units of whole runs"
    )
    minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="time after which no more is drawn, instead of a budget; it can be raised later"
    )
    rungs: Literal["auto", "one"] | list[Annotated[int, Field(ge=1)]] = Field(
        description="epochs after which draws are compared; auto: a ninth, a third, all; one: no halving"
    )
    wave: int = Field(ge=1, description="draws per wave, whatever the number of workers")
    seed: int = Field(ge=0, description="seeds the draws")
    finalists: int = Field(ge=0, description="best draws that are trained again with new seeds; 0: none")
    seeds: int = Field(ge=1, description="new seeds for each finalist, and as many more for the winner")
    learn_from: list[str] = Field(description="folders of earlier sweeps, whose runs count as draws")
    keep: Literal["complete", "all"] = Field(description="keep the checkpoints of complete runs, or of paused ones too")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> tuple[Self | None, list[str]]:
        """Read the settings, or return None and a line for each mistake."""
        try:
            return cls.model_validate(given), []
        except ValidationError as error:
            depths: dict[Any, int] = {}  # of the alternatives of search.rungs, the one that was meant is read deepest
            for details in error.errors():
                key = details["loc"][0]
                depths[key] = max(depths.get(key, 0), len(details["loc"]))
            deepest = [one for one in error.errors() if len(one["loc"]) == depths[one["loc"][0]]]
            return None, list(dict.fromkeys(map(_line, deepest)))

    def rules(self, max_epochs: int, warms_up: bool) -> Rules:
        """Return the rules for runs of `max_epochs`; `warms_up`: the learning rate rises at first.

        Raises:
            ConfigError: if a rung is above `max_epochs`.
        """
        if isinstance(self.rungs, list):
            rungs = self.rungs
        elif self.rungs == "one" or self.sampler == "grid":
            rungs = []
        else:
            powers = range(1 if warms_up else MOST_RUNGS - 1, 0, -1)  # while the rate rises, runs cannot be told apart
            rungs = [max(1, round(max_epochs / SHARE**power)) for power in powers]
        if any(rung > max_epochs for rung in rungs):
            raise ConfigError(f"search.rungs: must be at most trainer.max_epochs={max_epochs}, got {rungs}")
        budget = self.budget * max_epochs if self.minutes is None else math.inf
        return Rules(tuple(sorted({*rungs, max_epochs})), self.wave, budget)


def _line(details: Any) -> str:
    key = details["loc"][0]
    if details["type"] == "extra_forbidden":
        return f"search.{key}: unknown key{did_you_mean(str(key), Settings.model_fields)}"
    if details["type"] == "missing":
        return f"search.{key}: must be given"
    rule = details["msg"].replace("Input should", "must")
    return f"search.{key}: {rule}, got {details['input']!r} ({Settings.model_fields[key].description})"
