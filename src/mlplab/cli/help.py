"""What `train.py --help` says of each key: its value, what it means, and what it may be."""

import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mlplab.cli.compose import plain
from mlplab.config.schema import Config, flatten, with_class_defaults

BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
OF_A_CLASS = ("optimizer.", "scheduler.")  # sections of arguments that their class may not have
Schema = Mapping[str, Any]  # of JSON


def keys(*, _root_: DictConfig) -> str:
    """A line for each key of a run; what the configuration leaves out has its default."""
    values, known = flatten(with_class_defaults(plain(_root_))), _schemas()
    given = {key for key in known if not key.startswith(OF_A_CLASS)} | values.keys()
    sections = list(Config.model_fields)
    found = [key for key in dict.fromkeys([*known, *values]) if key.partition(".")[0] in sections]
    lines = []
    for key in sorted(found, key=lambda key: sections.index(key.partition(".")[0])):
        schema = known.get(key, {})
        if key in given or schema.get("default") is not None:
            value = json.dumps(values.get(key, schema.get("default")), separators=(",", ":")).replace('"', "")
            allowed = f" ({_allowed(schema)})" if _allowed(schema) else ""
            lines.append(f"{f'{key}={value}':36}  {schema.get('description', '')}{allowed}".rstrip())
    return "\n".join(lines).replace("$", "$$")  # Hydra makes a template of it


def _schemas() -> dict[str, Schema]:
    """What pydantic says of each key."""
    schema, found = Config.model_json_schema(), dict[str, Schema]()
    for name, part in schema["properties"].items():
        section = schema["$defs"].get(part.get("$ref", "").rpartition("/")[2])
        found |= {f"{name}.{key}": field for key, field in section["properties"].items()} if section else {name: part}
    return found


def _allowed(schema: Schema) -> str:
    """`ema | swa`, or `at least 1, or above 0 and below 1`."""
    kinds = [kind.get("items", kind) for kind in schema.get("anyOf", [schema])]
    choices = [choice for kind in kinds for choice in kind.get("enum", ())]
    ranges = [[f"{words} {kind[bound]:,}" for bound, words in BOUNDS.items() if bound in kind] for kind in kinds]
    return " | ".join(dict.fromkeys(map(str, choices))) or ", or ".join(" and ".join(each) for each in ranges if each)


OmegaConf.register_new_resolver("keys", keys)
