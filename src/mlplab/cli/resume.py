"""The run that a command resumes: the folder named by `resume`, or a run that already exists in its hydra.run.dir."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mlplab.cli.compose import plain
from mlplab.config import run_hash
from mlplab.config.class_defaults import FROM_THE_RUN
from mlplab.config.fields import flatten, nested
from mlplab.config.former_keys import renamed
from mlplab.config.schema import Config, keys_that_affect
from mlplab.config.validation import parse
from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import folder as run_folder
from mlplab.runs import folder_lock
from mlplab.runs import result as result_file

# Keys that may change on resume: the number of epochs, those that affect rounding, and those that affect nothing.
SAFE = keys_that_affect("length", "rounding", "nothing")

MOST_INTERPOLATIONS = 20  # one, data.root, comes from the project's own config

Flat = dict[str, Any]  # {"model.hidden": 128, ...}


@dataclass(frozen=True)
class ResumedRun:
    """An existing run, with the changes that a command makes."""

    folder: Path
    config: Config
    changes: Flat
    result: result_file.Result | None  # of a complete run

    @property
    def is_done(self) -> bool:
        """Tell whether nothing is left to train. A run that stopped early would stop there again."""
        if self.result is None:
            return False
        epochs, asked = self.result.epochs, self.result.max_epochs
        return bool(epochs < asked or self.config.trainer.max_epochs <= epochs)

    def keep_changes(self) -> None:
        """Write the changes into the run's stored configuration, for the next resume.

        Raises:
            CheckpointError: if it cannot be written.
        """
        path = _config_file(self.folder)
        if self.changes:
            tree = _load(path)
            for key, value in self.changes.items():
                OmegaConf.update(tree, key, value, force_add=True)
            run_folder.write(path, OmegaConf.to_yaml(tree).encode())

    def __str__(self) -> str:
        assert self.result is not None
        epochs, acc = self.result.epochs, self.result.metrics["test/acc"]
        return f"{run_folder.short(self.folder)}: completed after {epochs} epochs, test accuracy {acc:.2%}"


def folder_of(given: str | None, run_dir: Path) -> Path | None:
    """Return the folder of the run to resume; None if a new run is to start in `run_dir`.

    Raises:
        CheckpointError: if `given`, the value of `resume`, does not name a run.
        ConfigError: if `run_dir` holds files that do not belong to a run.
    """
    folder = (run_dir if given is None else run_folder.meant(Path(given))).absolute()
    try:
        if given is not None:
            return _run_of(folder, given)
        begun = (folder / "checkpoints").exists() or (folder / "result.json").exists()
        if begun:
            folder_lock.refuse_others(folder)
        if begun and not _config_file(folder).exists():
            folder_lock.refuse_used(folder)
    except OSError as error:  # a name that is too long, or a folder without permission
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror}. Give another folder.") from error
    return folder if begun else None


def resumed(folder: Path, composed: Flat, named: Collection[str] | None) -> ResumedRun:
    """Return the run in a folder, with the changes that a command makes.

    Args:
        folder: of the run.
        composed: the configuration of the command.
        named: the keys and groups that the command sets, all others being as in the run; None for all keys.

    Raises:
        CheckpointError: if the configuration stored in the folder is damaged.
        ConfigError: if the command changes a key that must not change.
    """
    before, stored = _recorded(folder)
    keys = {
        key
        for key in {**composed, **stored}
        if named is None or any(f"{key}.".startswith(f"{name}.") for name in named)
    }
    changed = {key: value for key, value in composed.items() if key in keys}
    config = parse(nested({key: value for key, value in stored.items() if key not in keys} | changed))
    was, now = run_hash.decisive(before), run_hash.decisive(config)
    refused = [
        f"{key}: the run has {stored.get(key, run_hash.defaults(before).get(key))},"
        f" the command {composed.get(key, run_hash.defaults(config).get(key))}{reason}"
        for key in {**now, **was}
        if was.get(key) != now.get(key) and (reason := _obstacle(key, stored, now.get(key))) is not None
    ]
    if refused:
        way_out = ["Choose another hydra.run.dir, or omit it."] if named is None else []
        what = f"{run_folder.short(folder)}: holds another run, which cannot be resumed with these settings:"
        raise ConfigError("\n".join([what, *refused[:2], *["..."][: len(refused) - 2], *way_out]))
    kept = {key: value for key, value in changed.items() if key in SAFE}
    changes = {key: value for key, value in kept.items() if value != stored.get(key)}
    return ResumedRun(folder, config, changes, result_file.read_result(folder))


def _recorded(folder: Path) -> tuple[Config, Flat]:
    """Return the stored configuration of a run as an object and as composed, with the current keys."""
    path = _config_file(folder)
    try:
        tree = plain(_load(path))
        return parse(tree), flatten(renamed(tree))
    except ConfigError as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: damaged, or of another version of mlplab: {line}") from error


def _obstacle(key: str, stored: Flat, value: object) -> str | None:
    """Return why a key must not have another value, or "" if no explanation is needed; None if it may."""
    if key != "trainer.max_epochs":
        return None if key in SAFE else ""
    if not isinstance(value, int) or value <= stored[key]:
        return " (only upwards)"
    spans = FROM_THE_RUN.get(stored.get("scheduler.name") or "", set())
    if any(f"scheduler.{argument}" not in stored for argument in spans):  # a longer run would have other rates
        return " (its schedule spans the run)"
    if stored.get("regularization.averaging") == "swa" and stored.get("regularization.swa_start") != 0:
        return " (regularization.swa_start is a fraction of the run)"
    return None


def _run_of(path: Path, given: str) -> Path:
    """Return the folder of a run, given as the folder or one of its checkpoints."""
    folder = path.parent.parent if path.suffix == ".ckpt" else path
    if _config_file(folder).exists():
        return folder
    runs = sorted(run_folder.short(found.parents[1]) for found in folder.glob("*/.hydra/config.yaml"))
    hint = f" Runs below it: {', '.join(runs[:5])}" if runs else ""
    reason = "does not exist."
    if path.exists():
        reason = "contains no run that can be resumed." if folder.is_dir() else "is not the folder of a run."
    raise CheckpointError(f"resume={given}: {reason} Give a run folder below outputs/.{hint}")


def _config_file(folder: Path) -> Path:
    return folder / ".hydra" / "config.yaml"


def _load(path: Path) -> DictConfig:
    try:
        text = result_file.config_text(path.parent.parent)
        if text.count("${") > MOST_INTERPOLATIONS:
            raise ValueError("too many interpolations")
        tree = OmegaConf.create(text)
        if not isinstance(tree, DictConfig):
            raise TypeError("not a mapping")
    except Exception as error:  # parsers raise anything for a damaged file
        raise CheckpointError(f"{path}: missing or damaged, the run cannot be resumed.") from error
    return tree
