"""What is wrong with a command line that Hydra refuses: a line for each mistake, in the words of the project."""

import re
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException, OverrideParseException

from mlplab.cli.compose import config_of
from mlplab.config import torch_signatures
from mlplab.config.schema import Config
from mlplab.config.spelling import did_you_mean
from mlplab.config.validation import nearest
from mlplab.errors import ConfigError

ONE_AT_A_TIME = ("sweep", "sweep_name", "sweep_without", "jobs", "launcher")  # a grid is of one sweep


def not_choices(arguments: list[str], conf: Path) -> list[str]:
    """What to say of group=choice where the choice is a number or null, which Hydra does not name."""
    lines = []
    for group in sorted(folder.name for folder in conf.iterdir() if folder.is_dir()):
        choices = sorted(file.stem for file in (conf / group).glob("*.yaml"))
        given = (a for a in arguments if a.startswith(f"{group}=") and a.partition("=")[2] not in choices)
        lines += [f"{argument}: unknown, must be one of {', '.join(choices)}" for argument in given]
    return lines


def mistakes(error: HydraException, arguments: list[str], conf: Path) -> list[str]:
    """What is wrong with a command line: Hydra stops at the first mistake, so it is asked again without that one."""
    culprit = re.match(r"Could not override '([^']+)'", str(error))
    if culprit:
        lines = [f"{culprit[1]}: unknown key{nearest(culprit[1])}"]
        rest = [a for a in arguments if a.lstrip("+~").partition("=")[0] != culprit[1]]
    elif isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        classes = {"optimizer": torch_signatures.optimizers, "scheduler": torch_signatures.schedulers}.get(
            group, dict
        )()
        by_class = {name.lower(): f"; did you mean {group}.name={name}?" for name in classes}
        hint = by_class.get(choice.lower()) or did_you_mean(choice, error.options)
        lines = [f"{group}={choice}: unknown, must be one of {', '.join(error.options)}{hint}"]
        rest = [a for a in arguments if a != f"{group}={choice}"]
    elif several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'", str(error)):
        lines, rest = [of_several(several[1])], [a for a in arguments if a != several[1]]
    else:
        if isinstance(error, OverrideParseException):
            return [f"{error.override}: not of the form key=value, or a bracket or quote is not closed"]
        said = f"{error}\n{error.__cause__ or ''}"
        return [line for line in said.splitlines() if line.strip() and "https://" not in line][:5]
    if len(rest) == len(arguments) or any(a.startswith("-") for a in rest):
        return lines  # a sweep, or an option of Hydra
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            config_of(compose("config", rest))
    except HydraException as another:
        lines += mistakes(another, rest, conf)
    except ConfigError as another:
        lines += str(another).splitlines()
    return lines


def of_several(argument: str) -> str:
    """What to say of several values where there can be one, or of an interval."""
    key, _, values = argument.partition("=")
    section, _, name = key.rpartition(".")
    if key in ONE_AT_A_TIME:
        return f"{argument}: one at a time: give a command for each"
    if "interval(" in values:
        return f"{argument}: an interval has no end of values; -m takes a list, such as {key}=1e-4,1e-3,1e-2"
    field = getattr(Config.model_fields.get(section), "annotation", None)
    takes_a_list = "tuple" in str(getattr(field, "model_fields", {}).get(name, ""))
    of_one = f"; or write {key}=[{values}] for one run" if takes_a_list and "(" not in values else ""
    return f"{argument}: several values: add -m for a sweep over them{of_one}"
