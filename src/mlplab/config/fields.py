"""The fields of the schema by dotted key, such as model.hidden, and what each affects."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Affects:
    """Annotation of a field whose value does not affect the whole result of a run; `what` says what it affects.

    nothing: no part of the result. Left out of the hash, of names and of the report; may change on resume.
    rounding: the last bits. May change on resume.
    length: the number of epochs. May change on resume.
    report: the grouping of runs in the report. Left out of the hash.
    untrained: the metrics before training. Left out of the report.
    """

    what: Literal["nothing", "rounding", "length", "report", "untrained"]


@cache
def fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a schema and of its sections by key; a section's annotation applies to all its fields."""
    found: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            found[name] = field
            continue
        marks = [mark for mark in field.metadata if isinstance(mark, Affects)]
        for key, own in fields(inner).items():
            found[f"{name}.{key}"] = marked = FieldInfo.merge_field_infos(own)
            marked.metadata = [*own.metadata, *marks]
    return found


def affects(field: FieldInfo | None) -> str:
    """Return the `Affects.what` of a field, or "result"; None is a field that the schema does not declare."""
    marks = field.metadata if field else ()
    return next((mark.what for mark in marks if isinstance(mark, Affects)), "result")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"hidden": 128}} -> {"model.hidden": 128}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"model.hidden": 128} -> {"model": {"hidden": 128}}."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return tree
