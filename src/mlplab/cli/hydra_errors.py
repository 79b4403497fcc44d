"""Translates Hydra's command-line errors into one line for each mistake."""

import re
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException

from mlplab.config import torch_signatures
from mlplab.config.fields import fields
from mlplab.config.schema import Config
from mlplab.config.spelling import did_you_mean
from mlplab.config.validation import nearest

ONE_AT_A_TIME = ("sweep", "search", "sweep_name", "sweep_without", "jobs", "launcher")  # cannot be swept over


def explain(error: HydraException, overrides: list[str]) -> tuple[list[str], list[str]]:
    """Return lines that describe the error, and the overrides without the faulty one, or all if it is not known."""
    if culprit := re.match(r"Could not override '([^']+)'", str(error)):
        lines = [f"{culprit[1]}: unknown key{nearest(culprit[1])}"]
        return lines, [word for word in overrides if word.lstrip("+~").partition("=")[0] != culprit[1]]
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        line = f"{group}={choice}: unknown, must be one of {', '.join(error.options)}"
        hint = _class_named(choice, group) or did_you_mean(choice, error.options)
        return [line + hint], [word for word in overrides if word != f"{group}={choice}"]
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'", str(error)):
        return [of_several(several[1])], [word for word in overrides if word != several[1]]
    if isinstance(error, OverrideParseException):
        return [f"{error.override}: not of the form key=value, or a bracket or quote is not closed"], overrides
    said = f"{error}\n{error.__cause__ or ''}"
    return [line for line in said.splitlines() if line.strip() and "https://" not in line][:5], overrides


def of_several(override: str) -> str:
    """Explain why a key cannot have several values, or an interval, in this command."""
    key, _, values = override.partition("=")
    if key in ONE_AT_A_TIME:
        return f"{override}: choose only one per command"
    if "interval(" in values:
        return f"{override}: ranges are for a search: add search=halving, or give -m values, {key}=1e-4,1e-3,1e-2"
    takes_a_list = "tuple" in str(fields(Config).get(key))
    of_one = f", or write {key}=[{values}] for one run" if takes_a_list and "(" not in values else ""
    return f"{override}: has several values: add -m for a sweep over them{of_one}"


def not_choices(overrides: list[str], conf: Path) -> list[str]:
    """Describe each group=choice whose choice is a number or null: Hydra's error does not name it."""
    lines = []
    for group, choices in groups(conf).items():
        given = (word for word in overrides if word.startswith(f"{group}=") and word.partition("=")[2] not in choices)
        lines += [f"{override}: unknown, must be one of {', '.join(choices)}" for override in given]
    return lines


def groups(conf: Path) -> dict[str, list[str]]:
    """Return the choices of each config group."""
    folders = sorted(folder for folder in conf.iterdir() if folder.is_dir() and folder.name != "hydra")
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def _class_named(choice: str, group: str) -> str:
    """Return a hint if a torch class was given instead of a choice."""
    by_name = {name.lower(): name for name in torch_signatures.BY_SECTION.get(group, dict)()}
    name = by_name.get(choice.lower())
    return f"; did you mean {group}.name={name}?" if name else ""
