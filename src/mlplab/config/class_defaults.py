"""Default arguments of the torch classes that a configuration names."""

from collections.abc import Mapping
from typing import Any

from mlplab.config import torch_signatures

# Arguments of a schedule that need not be given: the classifier fills them in from the run.
FROM_THE_RUN = {"CosineAnnealingLR": {"T_max"}, "OneCycleLR": {"total_steps", "max_lr"}}


def class_defaults(classes: Mapping[str, torch_signatures.Arguments], name: object) -> dict[str, Any]:
    """Return the default of each argument of the class `name`, except those that the run fills in."""
    arguments = classes.get(str(name), {})
    from_the_run = FROM_THE_RUN.get(str(name), ())
    return {key: known.default for key, known in arguments.items() if not known.required and key not in from_the_run}


def with_class_defaults(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a configuration with every argument of its optimizer and schedule, except those that the run fills in."""
    filled = dict(tree)
    for section, classes in torch_signatures.BY_SECTION.items():
        given = filled.get(section)
        if isinstance(given, dict):
            defaults = class_defaults(classes(), given.get("name"))
            plain = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
            filled[section] = given | {key: value for key, value in plain.items() if key not in given}
    return filled


def schedule_interval(scheduler: Mapping[str, Any]) -> str:
    """Return the unit of a schedule, "step" or "epoch": as given, or the usual one; steps with a warm-up."""
    name = scheduler.get("name")
    by_class = "step" if name in ("OneCycleLR", "CyclicLR") or (not name and scheduler.get("warmup")) else "epoch"
    return str(scheduler.get("interval") or by_class)
