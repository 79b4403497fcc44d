"""Keys of earlier versions, and their current names."""

import re
from collections.abc import Mapping
from typing import Any

from mlplab.config.fields import flatten, nested

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
_OVERRIDE = re.compile(r"([+~]*(?:hydra\.sweeper\.params\.)?)([\w.]+)(=.*)?", re.DOTALL)


def renamed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the current keys."""
    flat = flatten(tree)
    former = {KEYS[key]: value for key, value in flat.items() if key in KEYS}
    kept = {key: value for key, value in flat.items() if key not in KEYS}
    return nested(kept | {key: value for key, value in former.items() if key.partition(".")[0] not in kept})


def renamed_override(override: str) -> str:
    """Return an override with the current key: `averaging=ema` -> `regularization.averaging=ema`."""
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        return override
    prefix, key, value = match[1], match[2], match[3] or ""
    if key == "averaging":
        value = re.sub(r"\bnone\b", "null", value)
    return f"{prefix}{GROUPS.get(key) or KEYS.get(key, key)}{value}"
