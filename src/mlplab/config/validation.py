"""Validates a configuration: one line for each mistake, with keys as typed on the command line."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlplab.config import cross_checks, torch_signatures
from mlplab.config.class_defaults import FROM_THE_RUN
from mlplab.config.fields import fields
from mlplab.config.former_keys import renamed
from mlplab.config.schema import Config
from mlplab.config.spelling import closest, did_you_mean
from mlplab.errors import ConfigError

_OF_A_COMMAND = ("experiment", "ablation", "sweep", "sweep_name", "resume", "hydra.run.dir")


def parse(composed: Mapping[str, Any]) -> Config:
    """Turn a composed tree of plain values into a typed object.

    Raises:
        ConfigError: with a line for each mistake.
    """
    tree = renamed(composed)
    mistakes = list(_library_mistakes(tree))
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        # A union reports an error for each of its members: an error of range is more helpful than one of type.
        errors = sorted(error.errors(), key=lambda details: details["type"].startswith(("greater", "less")))
        lines = {_key(details): _line(details) for details in errors}
        raise ConfigError("\n".join([*lines.values(), *mistakes])) from None
    mistakes += cross_checks.mistakes(config)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def nearest(key: str) -> str:
    """Return '; did you mean model.hidden?' for `hidden` or `modle.hiden`; nothing if no key is close."""
    known = [*fields(Config), *Config.model_fields, *_OF_A_COMMAND]
    by_last_word = {name.rpartition(".")[2]: name for name in reversed(known) if not name.startswith(_RARE)}
    last_word = key.rpartition(".")[2]
    near = [closest(last_word, known), by_last_word.get(last_word), closest(key, known)]
    near.append(by_last_word.get(closest(last_word, by_last_word) or ""))
    return next((f"; did you mean {close}?" for close in near if close not in (None, key)), "")


_RARE = ("show.", "published.")  # never suggested for a word without a section


def _library_mistakes(composed: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each argument that the named class does not take, or that it requires and was not given."""
    sections = {name: part for name, part in composed.items() if isinstance(part, Mapping)}
    for section, classes, own in (
        ("optimizer", torch_signatures.optimizers(), {"name"}),
        ("scheduler", torch_signatures.schedulers(), {"name", "interval", "warmup"}),
    ):
        name = sections.get(section, {}).get("name")
        given = {key: value for key, value in sections.get(section, {}).items() if key not in own}
        if name is None and section == "scheduler":
            yield from _unknown_arguments(section, "a constant rate takes no arguments", given, {})
        elif isinstance(name, str) and name in classes:  # if not, the schema says so
            takes = f"{name} takes {', '.join(classes[name])}"
            yield from _unknown_arguments(section, takes, given, classes[name])
            needed = {argument for argument, known in classes[name].items() if known.required}
            for argument in sorted(needed - set(given) - FROM_THE_RUN.get(name, set())):
                yield f"{section}.{argument}: must be given, {name} needs it"
    takes = "not a flag of lightning.Trainer that can be given here"
    yield from _unknown_arguments("trainer", takes, sections.get("trainer", {}), torch_signatures.trainer_flags())


def _unknown_arguments(
    section: str, takes: str, given: Mapping[str, Any], known: Mapping[str, torch_signatures.Argument]
) -> Iterator[str]:
    for argument, value in given.items():
        if argument not in known:
            close = did_you_mean(argument, known) or nearest(f"{section}.{argument}")
            yield f"{section}.{argument}: {takes}{close}"
        elif not known[argument].takes(value) and (value is None or f"{section}.{argument}" not in fields(Config)):
            kinds = " or ".join(sorted(known[argument].kinds or ()))
            yield f"{section}.{argument}: must be {kinds}, got {value!r}"


def _key(details: ErrorDetails) -> str:
    """Return the key as typed: without positions in a list or members of a union."""
    parts = [str(part) for part in details["loc"]]
    keys = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((key for key in keys if key in fields(Config)), ".".join(parts))


def _line(details: ErrorDetails) -> str:
    key = _key(details)
    if details["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(key)}"
    if details["type"] == "missing":
        return f"{key}: must be given"
    if details["type"] == "model_type" and "." not in key:
        names = (name for name in fields(Config) if name.startswith(f"{key}."))
        return f"{key}: has keys: {', '.join(names)[:200]}"
    rule = re.sub(r"^\w+ should ", "must ", details["msg"]).replace(" after validation", "")
    close = details.get("ctx", {}).get("close", "")
    return f"{key}: {rule}, got {details['input']!r}{close} ({fields(Config)[key].description})"
