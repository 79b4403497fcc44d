"""Every key of a configuration with its value, range and meaning, from the schema."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "to below"}


class Key(NamedTuple):
    name: str  # model.hidden
    value: str
    range: str
    meaning: str


def keys(config: BaseModel, prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a configuration, section by section."""
    schemas = type(config).model_json_schema()["properties"]
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield Key(prefix + name, plain(value), _range(schemas[name]), field.description or "")


def plain(value: Any) -> str:
    """Format a value as it is typed on the command line: null, true, [512,256]."""
    if isinstance(value, tuple | list):
        return plain(value[0]) if len(value) == 1 else f"[{','.join(map(plain, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _range(schema: dict[str, Any]) -> str:
    """Describe the values that a JSON schema allows: `integer from 1`, `number from 0 to below 1 or null`."""
    if "anyOf" in schema:
        return " or ".join(map(_range, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(dict.fromkeys(map(plain, schema["enum"])))
    if "const" in schema:
        return plain(schema["const"])
    if schema["type"] == "array":
        return f"{_range(schema['items'])} or a list"
    kind = {"boolean": "true | false", "string": "text"}.get(schema["type"], schema["type"])
    return " ".join([kind, *(f"{word} {schema[bound]}" for bound, word in BOUNDS.items() if bound in schema)])
