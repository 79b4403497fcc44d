"""Keys of earlier configurations and commands, and their names today."""

import re
from collections.abc import Mapping
from typing import Any

DISTORTIONS = ("shift", "flip", "rotation", "scale", "shear", "elastic_alpha", "elastic_sigma")

KEYS = {
    **{f"model.{name}": f"regularization.{name}" for name in ("input_dropout", "input_noise", "hidden_noise")},
    **{f"aids.{name}": f"regularization.{name}" for name in ("max_norm", "label_smoothing", "mixup")},
    "averaging.name": "regularization.averaging",
    "averaging.decay": "regularization.ema_decay",
    "averaging.start": "regularization.swa_start",
    **{f"augment.{name}": f"regularization.{name}" for name in DISTORTIONS},
}
GROUPS = {"augment": "regularization", "averaging": "regularization.averaging", "trick": "ablation"}
_SECTIONS = {"aids", "averaging", "augment"}  # gone altogether
_OVERRIDE = re.compile(r"([+~]*(?:hydra\.sweeper\.params\.)?)([\w.]+)(=.*)?", re.DOTALL)


def renamed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with today's keys."""
    sections = {key: dict(part) if isinstance(part, Mapping) else part for key, part in tree.items()}
    for former, key in KEYS.items():
        section, name = former.split(".")
        target, new_name = key.split(".")
        place, new_place = sections.get(section), sections.get(target, {})
        if isinstance(place, dict) and isinstance(new_place, dict) and name in place:
            sections[target] = new_place | {new_name: place.pop(name)}
    return {key: part for key, part in sections.items() if part or key not in _SECTIONS}


def renamed_override(override: str) -> str:
    """Return a word of the command line with today's key: `averaging=ema` -> `regularization.averaging=ema`."""
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        return override
    prefix, key, value = match[1], match[2], match[3] or ""
    if key == "averaging":
        value = re.sub(r"\bnone\b", "null", value)
    return f"{prefix}{GROUPS.get(key) or KEYS.get(key, key)}{value}"
