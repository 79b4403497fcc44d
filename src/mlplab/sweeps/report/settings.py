"""The settings of a run: dotted keys with plain values, their short format and their order."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from mlplab.config.datasets import OWN
from mlplab.config.fields import flatten
from mlplab.config.schema import keys_that_affect

Setting: TypeAlias = "bool | int | float | str | tuple[Setting, ...] | None"

# Seeds are merged into mean and spread; the others affect none of the metrics that are compared.
NOT_SETTINGS = {"seed", *keys_that_affect("nothing", "untrained")}
# A key that names settings that vary together, and its baseline.
REFERENCES = {"trick": "plain"}
BY_LAYER = {"model.hidden", "model.dropout"}  # one number or a list


def of(tree: Mapping[str, Any]) -> dict[str, Setting]:
    """{"model": {"hidden": 512}} -> {"model.hidden": (512,)}."""
    flat = {printable(key): value for key, value in flatten(tree).items()}
    left_out = NOT_SETTINGS - ({"data.root"} if flat.get("data.name") in OWN else set())
    return {key: _plain(key, value) for key, value in flat.items() if key not in left_out}


def _plain(key: str, value: object) -> Setting:
    if isinstance(value, list):
        return tuple(_plain("", part) for part in value)
    if key in BY_LAYER and isinstance(value, int | float):
        return (value,)
    if isinstance(value, int) and not isinstance(value, bool) and key.endswith(("_batches", "val_check_interval")):
        return f"{value} batches"  # 1 is one batch, 1.0 is all of them
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{key} is a {type(value).__name__}")


def shown(key: str, value: Setting, digits: int = 6) -> str:
    """Format a value briefly: 512x512 for widths, none for no hidden layer, - for null."""
    match value:
        case None:
            return "-"
        case ():
            return "none"
        case tuple():
            return ("x" if key == "model.hidden" else ",").join(shown(key, part, digits) for part in value)
        case float():
            return f"{value:.{digits}g}"
        case _:
            return printable(str(value)) or "''"


def printable(text: str) -> str:
    """Make a text printable: one line, without control characters or characters that a file cannot hold."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def order(value: Setting) -> tuple[Any, ...]:
    """Return a sort key that sorts numbers as numbers, and few layers before many."""
    match value:
        case None:
            return (0,)
        case bool() | int() | float():
            return (1, value)
        case tuple():
            return (2, len(value), *map(order, value))
        case _:
            return (3, value)
