"""The hash of a run: equal for equivalent configurations, however they are spelled."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlplab.config import former_keys, torch_signatures
from mlplab.config.class_defaults import schedule_interval
from mlplab.config.fields import affects, fields, flatten, nested

if TYPE_CHECKING:
    from mlplab.config.schema import Config

# Spelling of the published hashes: former names, and two flags that later versions leave out.
_FORMER = {key: former for former, key in former_keys.KEYS.items()}
_FIXED = {"trainer.devices": 1, "trainer.num_sanity_val_steps": 0}


def of(config: "Config") -> str:
    known = fields(type(config))
    spelled = {_FORMER.get(key, key): value for key, value in decisive(config).items()}
    kept = {key: value for key, value in spelled.items() if key not in known or affects(known[key]) != "report"}
    return hashlib.sha256(json.dumps(nested(kept | _FIXED), sort_keys=True).encode()).hexdigest()[:16]


def decisive(config: "Config") -> dict[str, Any]:
    """Return the values that differ from their defaults and affect the result, by key, in a canonical spelling."""
    known, plain, distortions = fields(type(config)), defaults(config), _distortions(config)
    flat = flatten(config.model_dump(mode="json", exclude_unset=True)) | _in_one_spelling(config)
    own = {"data.root"} if config.data.is_own else set()  # other data sets are the same everywhere
    flat = {key: value for key, value in flat.items() if key in own or affects(known.get(key)) != "nothing"}
    changed = {key: value for key, value in flat.items() if key not in plain or not _is(key, value, plain[key])}
    return {key: value for key, value in changed.items() if key not in _DISTORTIONS} | distortions


def defaults(config: "Config") -> dict[str, Any]:
    """Return the default of each optional key, including those of torch and Lightning."""
    known = fields(type(config))
    flags = {f"trainer.{key}": flag.default for key, flag in torch_signatures.trainer_flags().items()}
    return {
        **{key: default for key, default in flags.items() if key not in known},
        **{key: field.default for key, field in known.items() if not field.is_required()},
        **{f"optimizer.{key}": value for key, value in config.optimizer.defaults.items() if key != "lr"},
        **{f"scheduler.{key}": value for key, value in config.scheduler.defaults.items()},
    }


_DISTORTIONS = {f"regularization.{name}" for name in former_keys.DISTORTIONS}


def _distortions(config: "Config") -> dict[str, Any]:
    """Return all distortions, or none if nothing is distorted; elastic_sigma counts only with an elastic_alpha."""
    found = config.regularization.distortions or {}
    if not found.get("elastic_alpha"):
        found |= {"elastic_sigma": 4.0} if found else {}
    return {f"regularization.{name}": list(value) if name == "scale" else value for name, value in found.items()}


def _in_one_spelling(config: "Config") -> dict[str, Any]:
    trainer, scheduler, rates = config.trainer, config.scheduler, set(config.model.dropout)
    clip, precision = trainer.gradient_clip_val or None, str(trainer.precision)
    by_value = clip and trainer.gradient_clip_algorithm == "value"
    stops_early = config.early_stopping.patience is not None
    return {
        "model.dropout": list(rates if len(rates) == 1 else config.model.dropout),
        "scheduler.interval": schedule_interval(dict(scheduler)) if scheduler.name or scheduler.warmup else None,
        "early_stopping.min_delta": config.early_stopping.min_delta if stops_early else 0.0,
        "trainer.gradient_clip_val": clip,
        "trainer.gradient_clip_algorithm": "value" if by_value else None,
        "trainer.precision": f"{precision}-true" if precision.isdigit() else precision,
        **_floats("optimizer", config.optimizer, torch_signatures.optimizers()),
        **_floats("scheduler", scheduler, torch_signatures.schedulers()),
    }


def _floats(section: str, part: Any, classes: Mapping[str, torch_signatures.Arguments]) -> dict[str, Any]:
    """Return the arguments that torch takes as floats: 2 -> 2.0."""
    given = part.model_dump(mode="json", exclude_unset=True)
    arguments = classes.get(str(part.name), {})
    return {
        f"{section}.{key}": _as_float(given[key])
        for key, argument in arguments.items()
        if key in given and "float" in (argument.kinds or ())
    }


def _as_float(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_float(part) for part in value]
    return float(value) if type(value) is int else value


def _is(key: str, value: Any, default: Any) -> bool:
    if key.startswith("trainer."):  # 1 is one batch, 1.0 is all of them; null, false and 0 mean the same
        return (type(value) is type(default) and value == default) or not (value or default)
    return bool(value == (list(default) if isinstance(default, tuple) else default))
