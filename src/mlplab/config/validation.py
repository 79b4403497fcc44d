"""What is wrong with a configuration: one line for each mistake, in the words of the command line."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mlplab.config import torch_signatures
from mlplab.config.schema import FROM_THE_RUN, Config
from mlplab.config.spelling import closest, did_you_mean
from mlplab.errors import ConfigError


def parse(composed: Mapping[str, Any]) -> Config:
    """Turn a composed tree of plain values into one typed object.

    Raises:
        ConfigError: with a line for everything that is wrong.
    """
    mistakes = list(_library_mistakes(composed))
    try:
        config = Config.model_validate(dict(composed))
    except ValidationError as error:
        # A union speaks for each of its members: what is out of range tells more than what is of another type.
        lines = {_key(details): _line(details) for details in sorted(error.errors(), key=_is_range)}
        mistakes = [*lines.values(), *mistakes]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def nearest(key: str) -> str:
    """'; did you mean model.hidden?' for `hidden` or `modle.hiden`; nothing where no key is near."""
    known = [*_known_keys(), *Config.model_fields, "experiment", "sweep", "sweep_name", "resume", "hydra.run.dir"]
    by_last_word = {name.rsplit(".", 1)[-1]: name for name in reversed(known) if not name.startswith("show.")}
    last_word = key.rpartition(".")[2]
    for close in (
        closest(last_word, known),
        by_last_word.get(last_word),
        closest(key, known),
        by_last_word.get(closest(last_word, by_last_word) or ""),
    ):
        if close is not None and close != key:
            return f"; did you mean {close}?"
    return ""


def _known_keys(section: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _library_mistakes(composed: Mapping[str, Any]) -> Iterator[str]:
    """A line for each argument that the named class does not take, or needs and is not given."""
    sections = {name: composed[name] for name in composed if isinstance(composed[name], Mapping)}
    for section, classes in (
        ("optimizer", torch_signatures.optimizers()),
        ("scheduler", torch_signatures.schedulers()),
    ):
        given = dict(sections.get(section, {}))
        name = given.pop("name", None)
        given.pop("interval", None)
        given.pop("warmup", None)
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
        elif not known[argument].takes(value) and (value is None or argument not in _schema(section).model_fields):
            kinds = " or ".join(sorted(known[argument].kinds or ()))
            yield f"{section}.{argument}: must be {kinds}, got {value!r}"


def _key(details: ErrorDetails) -> str:
    """The key a person would type: without positions in a list or members of a union."""
    keys = _known_keys()
    parts = [str(part) for part in details["loc"]]
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in keys:
            return ".".join(parts[:length])
    return ".".join(parts)


def _is_range(details: ErrorDetails) -> bool:
    return details["type"].startswith(("greater", "less"))


def _line(details: ErrorDetails) -> str:
    key = _key(details)
    if not key:
        return details["msg"]
    if details["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(key)}"
    if details["type"] == "missing":
        return f"{key}: must be given"
    if details["type"] == "model_type" and "." not in key:
        return f"{key}: has keys of its own, {', '.join(f'{key}.{name}' for name in _schema(key).model_fields)[:200]}"
    rule = re.sub(r"^\w+ should ", "must ", details["msg"]).replace(" after validation", "")
    section, _, name = key.rpartition(".")
    about = (_schema(section) if section else Config).model_fields[name].description
    close = details.get("ctx", {}).get("close", "")
    return f"{key}: {rule}, got {details['input']!r}{close}" + (f" ({about})" if about else "")


def _schema(section: str) -> type[BaseModel]:
    schema = Config.model_fields[section].annotation
    assert isinstance(schema, type)
    assert issubclass(schema, BaseModel)
    return schema
