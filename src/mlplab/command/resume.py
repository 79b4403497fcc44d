"""Which run a command goes on with: the folder that `resume` names, or an unfinished run of the same configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mlplab import durable, run_folder
from mlplab.command.composed import config_of, plain
from mlplab.config import FROM_THE_RUN, Config
from mlplab.errors import CheckpointError, ConfigError
from mlplab.mistakes import parse

# What a run may be given anew when it goes on: nothing that its figures depend on.
SAFE = (
    "trainer.max_epochs",  # upwards
    "trainer.enable_progress_bar",
    "trainer.accelerator",
    "trainer.devices",
    "checkpoints.every_n_steps",
    "checkpoints.every_n_minutes",
    "data.root",
)


@dataclass(frozen=True)
class Earlier:
    """A run that was begun."""

    folder: Path
    config: Config
    changed: dict[str, Any]
    result: dict[str, Any] | None  # of a run that was completed

    @property
    def is_done(self) -> bool:
        """Is there nothing left to train? A run that stopped early would stop there again."""
        if self.result is None:
            return False
        epochs, asked = self.result["epochs"], self.result.get("max_epochs", self.result["epochs"])
        return bool(epochs < asked or self.config.trainer.max_epochs <= epochs)

    def keep_changes(self) -> None:
        """Into the run's own configuration, so that it goes on with them next time."""
        path = self.folder / ".hydra" / "config.yaml"
        if self.changed:
            tree = _load(path)
            for key, value in self.changed.items():
                OmegaConf.update(tree, key, value, force_add=True)
            durable.write(path, OmegaConf.to_yaml(tree).encode())

    def __str__(self) -> str:
        assert self.result is not None
        epochs, acc = self.result["epochs"], self.result["metrics"]["test/acc"]
        return f"{run_folder.short(self.folder)}: completed after {epochs} epochs, test accuracy {acc:.2%}"


def named(composed: DictConfig) -> Earlier:
    """The run in the folder that `resume` names, with what the command changes of it.

    Raises:
        CheckpointError: if there is no run in it.
        ConfigError: if the command changes what may not be changed.
    """
    folder = _run_of(Path(str(composed.resume)))
    stored = _stored(folder)
    loader = GlobalHydra.instance().config_loader()
    given = [override for override in composed.hydra.overrides.task if not override.startswith("resume=")]
    before = [str(override) for override in _load(folder / ".hydra" / "overrides.yaml")]
    trees = [
        _flat(plain(loader.load_configuration("config", overrides, RunMode.RUN)))
        for overrides in ([*before], [*before, *given])
    ]
    changed = {key: trees[1].get(key) for key in {**trees[0], **trees[1]} if trees[0].get(key) != trees[1].get(key)}
    return _with(folder, stored, changed)


def same(composed: DictConfig) -> Earlier | None:
    """The run in the folder that the command would use, if it is of the same configuration; None if none is there.

    Raises:
        ConfigError: if it is of another one.
    """
    folder = Path(composed.hydra.run.dir)
    if not (folder / "checkpoints").exists() and not (folder / "result.json").exists():
        return None
    try:
        stored = _stored(folder)
    except CheckpointError:
        run_folder.refuse_used(folder)
        raise
    tree = _flat(plain(composed))
    try:
        return _with(folder, stored, {key: tree.get(key) for key in {**stored, **tree}})
    except ConfigError as error:
        raise ConfigError(f"{error}\nChoose another hydra.run.dir, or leave it out.") from error


def _with(folder: Path, stored: dict[str, Any], changed: dict[str, Any]) -> Earlier:
    """A stored run with changes, if they are safe."""
    differences = {
        key: f"{key}: the run has {stored.get(key)}, the command {value}"
        for key, value in changed.items()
        if value != stored.get(key) and not _is_safe(key, stored, value)
    }
    if differences:
        lines = "\n".join(list(differences.values())[:3] + ["..."] * (len(differences) > 3))
        raise ConfigError(f"{run_folder.short(folder)}: holds another run, which cannot go on so:\n{lines}")
    tree: dict[str, Any] = {}
    for key, value in {**stored, **changed}.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    different = {key: value for key, value in changed.items() if value != stored.get(key)}
    return Earlier(folder, parse(tree), different, run_folder.read_result(folder))


def _is_safe(key: str, stored: dict[str, Any], value: object) -> bool:
    if key != "trainer.max_epochs":
        return key in SAFE
    spans = FROM_THE_RUN.get(stored.get("scheduler.name") or "", set())
    by_length = any(f"scheduler.{argument}" not in stored for argument in spans)  # a longer one has other rates
    return not by_length and isinstance(value, int) and value > stored[key]


def _run_of(path: Path) -> Path:
    """The folder of a run, which may be given by one of its checkpoints."""
    folder = path.parent.parent if path.suffix == ".ckpt" else path
    if (folder / ".hydra" / "config.yaml").exists():
        return folder
    runs = sorted(run_folder.short(found.parents[1]) for found in folder.glob("*/.hydra/config.yaml"))
    hint = f" Runs below it: {', '.join(runs[:5])}" if runs else ""
    reason = "holds no run to go on with." if folder.is_dir() else "does not exist."
    raise CheckpointError(f"resume={path}: {reason} Give a folder that train.py made below outputs/.{hint}")


def _stored(folder: Path) -> dict[str, Any]:
    tree = _load(folder / ".hydra" / "config.yaml")
    if not isinstance(tree, DictConfig):
        raise CheckpointError(f"{folder / '.hydra' / 'config.yaml'}: damaged, the run cannot go on.")
    try:
        config_of(tree)
        return _flat(plain(tree))
    except ConfigError as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder / '.hydra' / 'config.yaml'}: damaged, or of another version of mlplab: {line}"
        ) from error


def _load(path: Path) -> Any:
    try:
        return OmegaConf.load(path)
    except Exception as error:  # whatever the YAML parser makes of a damaged file
        raise CheckpointError(f"{path}: missing or damaged, the run cannot go on.") from error


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"hidden": 128}} -> {"model.hidden": 128}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
