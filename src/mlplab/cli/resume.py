"""Which run a command goes on with: the folder that `resume` names, or an unfinished run of the same configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mlplab.cli.compose import plain
from mlplab.config.schema import FROM_THE_RUN, Augment, Config, changes_nothing, flatten, nested
from mlplab.config.validation import parse
from mlplab.errors import CheckpointError, ConfigError
from mlplab.runs import folder as run_folder
from mlplab.runs import result as result_file

# What a run may be given anew when it goes on, beside what changes nothing: more epochs, another device's rounding.
SAFE = ("trainer.max_epochs", "trainer.accelerator")

MOST_INTERPOLATIONS = 20  # one, data.root, is the project's own

Flat = dict[str, Any]  # {"model.hidden": 128, ...}


@dataclass(frozen=True)
class Earlier:
    """A run that was begun, and what a command changes of it."""

    folder: Path
    config: Config
    changes: Flat
    result: result_file.Result | None  # of a run that was completed

    @property
    def is_done(self) -> bool:
        """Is there nothing left to train? A run that stopped early would stop there again."""
        if self.result is None:
            return False
        epochs, asked = self.result.epochs, self.result.max_epochs
        return bool(epochs < asked or self.config.trainer.max_epochs <= epochs)

    def keep_changes(self) -> None:
        """Into the run's own configuration, so that it goes on with them next time.

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


def folder_of(composed: DictConfig) -> Path | None:
    """Where the run is that the command goes on with; None for one that is to begin.

    Raises:
        CheckpointError: if `resume` names something else than a run.
    """
    given = composed.resume
    folder = (Path(composed.hydra.run.dir) if given is None else run_folder.meant(Path(str(given)))).absolute()
    try:
        if given is not None:
            return _run_of(folder, str(given))
        begun = (folder / "checkpoints").exists() or (folder / "result.json").exists()
        if begun:
            run_folder.refuse_others(folder)
        if begun and not _config_file(folder).exists():
            run_folder.refuse_used(folder)
    except OSError as error:  # a name that is too long, or a folder that may not be searched
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror}. Give another folder.") from error
    return folder if begun else None


def earlier(folder: Path, composed: DictConfig) -> Earlier:
    """The run in a folder, with what the command changes of it.

    Raises:
        CheckpointError: if the configuration that is kept there is damaged.
        ConfigError: if the command changes what may not be changed.
    """
    before, stored = recorded(folder), flatten({"augment": Augment().model_dump(mode="json")})  # new keys
    stored |= flatten(plain(_load(_config_file(folder))))
    own = flatten(plain(composed))
    named = {*own, *stored} if composed.resume is None else _named(composed, own, stored)
    changed = {key: own[key] for key in own if key in named}
    config = parse(nested({key: value for key, value in stored.items() if key not in named} | changed))
    was, now = before.decisive, config.decisive
    refused = [
        f"{key}: the run has {stored.get(key, before.defaults.get(key))},"
        f" the command {own.get(key, config.defaults.get(key))}{reason}"
        for key in {**now, **was}
        if was.get(key) != now.get(key) and (reason := _obstacle(key, stored, now.get(key))) is not None
    ]
    if refused:
        way_out = [] if composed.resume is not None else ["Choose another hydra.run.dir, or leave it out."]
        what = f"{run_folder.short(folder)}: holds another run, which cannot go on so:"
        raise ConfigError("\n".join([what, *refused[:2], *["..."][: len(refused) - 2], *way_out]))
    kept = {key: value for key, value in changed.items() if key in SAFE or changes_nothing(key)}
    changes = {key: value for key, value in kept.items() if value != stored.get(key)}
    return Earlier(folder, config, changes, result_file.read_result(folder))


def recorded(folder: Path) -> Config:
    """The configuration of a run, as it was composed.

    Raises:
        CheckpointError: if it is missing, damaged or of another version.
    """
    path = _config_file(folder)
    try:
        return parse(plain(_load(path)))
    except ConfigError as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: damaged, or of another version of mlplab: {line}") from error


def _named(composed: DictConfig, own: Flat, stored: Flat) -> set[str]:
    """The keys that the command gives, by themselves or through a group."""
    loader: ConfigLoader = GlobalHydra.instance().config_loader()
    default = flatten(plain(loader.load_configuration("config", [], RunMode.RUN)))
    named = {key for key in {**default, **own} if default.get(key) != own.get(key)}
    given = OverridesParser.create(config_loader=loader).parse_overrides(list(composed.hydra.overrides.task))
    for word in (override.key_or_group for override in given):
        named |= {key for key in {**own, **stored} if key == word or key.startswith(f"{word}.")}
    return named


def _obstacle(key: str, stored: Flat, value: object) -> str | None:
    """Why a key may not have another value, where that is not plain; None if it may."""
    if key != "trainer.max_epochs":
        return None if key in SAFE else ""
    if not isinstance(value, int) or value <= stored[key]:
        return " (only upwards)"
    spans = FROM_THE_RUN.get(stored.get("scheduler.name") or "", set())
    if any(f"scheduler.{argument}" not in stored for argument in spans):  # a longer one has other rates
        return " (its schedule spans the run)"
    is_share = stored.get("averaging.name") == "swa" and stored.get("averaging.start") != 0  # of the epochs
    return " (averaging.start is a share of the run)" if is_share else None


def _run_of(path: Path, given: str) -> Path:
    """The folder of a run, which may be given by one of its checkpoints."""
    folder = path.parent.parent if path.suffix == ".ckpt" else path
    if _config_file(folder).exists():
        return folder
    runs = sorted(run_folder.short(found.parents[1]) for found in folder.glob("*/.hydra/config.yaml"))
    hint = f" Runs below it: {', '.join(runs[:5])}" if runs else ""
    reason = "does not exist."
    if path.exists():
        reason = "holds no run to go on with." if folder.is_dir() else "is no folder of a run."
    raise CheckpointError(f"resume={given}: {reason} Give a folder that train.py made below outputs/.{hint}")


def _config_file(folder: Path) -> Path:
    return folder / ".hydra" / "config.yaml"


def _load(path: Path) -> DictConfig:
    try:
        text = result_file.config_text(path.parent.parent)
        if text.count("${") > MOST_INTERPOLATIONS:
            raise ValueError("a small file that grows without end when it is read")
        tree = OmegaConf.create(text)
    except Exception as error:  # whatever a parser makes of a damaged file
        raise CheckpointError(f"{path}: missing or damaged, the run cannot go on.") from error
    if not isinstance(tree, DictConfig):
        raise CheckpointError(f"{path}: damaged, the run cannot go on.")
    return tree
