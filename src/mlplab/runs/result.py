"""result.json of a complete run, and its configuration: checked, and read in one way by whoever asks."""

import json
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mlplab.runs import atomic_write

LARGEST, LARGEST_CONFIG = 2**26, 2**16  # bytes; a result of 1,000 epochs has 0.3 MB, a configuration 2 kB
LARGEST_FIGURE = 3.5e38  # what a loss of 32 bits can be; sums of such numbers are finite still
DEEPEST = 4  # levels; a configuration has two, a damaged file may have any number


def load(folder: Path) -> dict[str, Any]:
    """Whatever it says is of the right kind, and accuracies are fractions of 1.

    Raises:
        OSError: if there is none.
        ValueError: if it is damaged; the reason is one line.
    """
    (folder / "result.json").lstat()
    try:
        result = _dict("it", json.loads(_text(folder / "result.json", LARGEST), parse_constant=_refuse))
        for key, value in _dict("metrics", result.get("metrics")).items():
            _number(key, value)
        for key in {"test/acc", *result["metrics"]} & {"test/acc", "val/acc"}:
            if not 0 <= result["metrics"].get(key, -1) <= 1:
                raise ValueError(f"{key} is missing or not in 0..1")
        for epoch in _list("history", result.get("history")):
            for key, value in _dict("history", epoch).items():
                _number(f"history: {key}", value)
        result.setdefault("epochs", len(result["history"]))
        result.setdefault("max_epochs", result["epochs"])
        for key in ("seed", "best_epoch", "epochs", "max_epochs"):
            result[key] = _whole(key, result.get(key))
        for key in ("fit_s", "total_s", "images_per_s"):
            if _number(key, result.get(key)) < 0:
                raise ValueError(f"{key} is negative")
        for versions in (result.get("versions"), *_list("earlier_versions", result.get("earlier_versions", []))):
            _dict("versions", versions)
        if not isinstance(result.get("config_hash", ""), str):
            raise ValueError("config_hash is not text")
        if "config" not in result:  # of versions that did not put it there
            result["config"] = composed(folder)
        _require_plain("config", _dict("config", result["config"]), DEEPEST)
    except (OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return result


def read(folder: Path) -> dict[str, Any] | None:
    """None if the run is not complete, or its result is damaged."""
    try:
        return load(folder)
    except (OSError, ValueError):
        return None


def damage(folder: Path) -> str:
    """What is wrong with the result of a run; empty if nothing is, or there is none."""
    try:
        load(folder)
    except ValueError as error:
        return str(error)
    except OSError:
        pass
    return ""


def composed(folder: Path) -> dict[Any, Any]:
    """What Hydra composed; values may refer to others.

    Raises:
        ValueError: if it is missing or damaged.
    """
    try:
        content = yaml.load(config_text(folder), yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"config.yaml: {str(error).splitlines()[0]}") from error
    return _dict(".hydra/config.yaml", content)


def config_text(folder: Path) -> str:
    """The configuration of a run, as text that does not grow when it is parsed.

    Raises:
        ValueError: if it is missing, or nothing that this project wrote.
        yaml.YAMLError: if it is no YAML.
    """
    text = _text(folder / ".hydra" / "config.yaml", LARGEST_CONFIG)
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.CSafeLoader)):
        raise ValueError("config.yaml: a small file that grows without end when it is read")
    return text


def _text(path: Path, most: int) -> str:
    content = atomic_write.read(path, most)
    if content is None:
        raise ValueError(f"{path.name} is missing, no file that can be read, or larger than {most:,} bytes")
    return content.decode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a figure")


def _dict(key: str, value: object) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} is missing or not a mapping")
    return value


def _list(key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{key} is missing or not a list")
    return value


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_FIGURE:
        raise ValueError(f"{key} is missing or not a sensible number")
    return value


def _whole(key: str, value: object) -> int:
    if (number := _number(key, value)) != int(number):
        raise ValueError(f"{key} is not a whole number")
    return int(number)


def _require_plain(key: str, value: object, depth: int) -> None:
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else [(key, part) for part in value]
        if depth < 0 or (isinstance(value, list) and any(isinstance(part, dict) for part in value)):
            raise ValueError(f"{key} is nested too deep")
        for name, part in parts:
            _require_plain(str(name), part, depth - 1)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise ValueError(f"{key} is a {type(value).__name__}")
