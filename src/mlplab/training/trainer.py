"""The Lightning Trainer of a run, with the callbacks that a configuration asks for."""

import logging
import math
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer

from mlplab.config.schema import BFLOAT16_IF_FAST, Config
from mlplab.errors import ConfigError
from mlplab.monitoring.progress import Progress
from mlplab.monitoring.tensorboard import Board
from mlplab.monitoring.tensorboard_logger import RunLogger
from mlplab.runs import device
from mlplab.runs import folder as run_folder
from mlplab.runs.checkpoint_file import DurableCheckpointIO
from mlplab.training.checkpointing import BestCheckpoint, LastCheckpoint
from mlplab.training.signals import Interruption

log = logging.getLogger(__name__)

BFLOAT16_SLOWER = "about 4"  # an epoch of mnist_98_fast, on a Xeon without the instructions
CLASSIFIERS = ("gradient_clip_val", "gradient_clip_algorithm", "max_steps")  # flags of a Trainer that it is given


@dataclass(frozen=True)
class Parts:
    """A Trainer, and the parts of it that a run asks for what they know."""

    trainer: Trainer
    last: LastCheckpoint  # not among the callbacks if no checkpoints are wanted
    best: BestCheckpoint | None
    interruption: Interruption
    logger: RunLogger | None
    board: Board  # not among the callbacks of barebones


def make_trainer(config: Config, folder: Path, begun_with: Mapping[str, str] = MappingProxyType({})) -> Parts:
    """Nothing is written yet. A run that goes on keeps the precision that it was `begun_with`.

    Raises:
        ConfigError: if Lightning refuses a flag.
    """
    _quieten()
    flags = config.trainer.flags
    bar = flags.pop("enable_progress_bar")
    for name in CLASSIFIERS:
        flags.pop(name, None)
    kept = begun_with.get("precision") if config.trainer.precision == BFLOAT16_IF_FAST else None
    flags["precision"] = kept if kept in ("bf16-mixed", "32-true") else precision(config)
    if flags.get("barebones"):  # Lightning wants to hear it of each
        flags |= {"logger": False, "enable_checkpointing": False}
    if not config.validates:
        flags["limit_val_batches"] = 0
    logger = RunLogger(folder) if flags.get("logger", True) else None
    flags["logger"] = logger or False
    saves = bool(flags.get("enable_checkpointing", True))
    last = LastCheckpoint(run_folder.checkpoint(folder, "last"))
    best = None
    if config.validates and saves:
        best = BestCheckpoint(run_folder.checkpoint(folder, "best"), config.monitor, config.mode)
    interruption = Interruption(last, folder, _seconds(flags.pop("max_time", None), saves))
    board = Board(config, folder, logger)
    callbacks: list[Callback] = [
        Progress(sys.stderr.isatty() if bar is None else bar, folder),
        *([] if flags.get("barebones") else [board]),
        *_stopping(config),
    ]
    if best is not None:
        callbacks.append(best)
    if saves:
        callbacks += [last, interruption]
    flags |= {"enable_progress_bar": False, "enable_model_summary": False}  # there are others in their place
    try:
        # One process, on one device: what torchrun or SLURM say in the environment of others is of no matter.
        flags["plugins"] = [DurableCheckpointIO(), LightningEnvironment()]
        trainer = Trainer(**flags, callbacks=callbacks, default_root_dir=folder)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise ConfigError(f"trainer: Lightning refuses these flags: {error}") from error
    return Parts(trainer, last, best, interruption, logger, board)


def _seconds(max_time: Any, saves: bool) -> float:
    """How long a run trains at most; what it had is saved then, so that it goes on with resume."""
    try:
        seconds = Timer(max_time).time_remaining()
    except (MisconfigurationException, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(f"trainer.max_time: must be days:hours:minutes:seconds, got {max_time!r}") from error
    if seconds is not None and not saves:
        raise ConfigError("trainer.max_time: needs checkpoints, from which the run goes on")
    return math.inf if seconds is None else seconds


def precision(config: Config) -> str | int:
    """What a recipe that asks for bfloat16 "where it is fast" gets here; anything else is as it was asked for."""
    asked = config.trainer.precision
    if "bf16" not in str(asked):
        return asked
    is_fast = device.has_bfloat16(config.trainer.accelerator)
    if asked != BFLOAT16_IF_FAST:
        if not is_fast:
            _say_once(
                logging.WARNING,
                f"trainer.precision={asked} is {BFLOAT16_SLOWER} times slower than 32-true on this processor, which has"
                " no bfloat16 instructions",
            )
        return asked
    if not is_fast:
        _say_once(logging.INFO, "precision 32-true, because this processor has no bfloat16 instructions")
    return "bf16-mixed" if is_fast else "32-true"


@cache  # the jobs of a sweep are tried one after the other
def _say_once(level: int, text: str) -> None:
    log.log(level, text)


@contextmanager
def refusals() -> Iterator[None]:
    """What Lightning and torch.optim refuse once they have seen the data, as a mistake of the configuration."""
    try:
        yield
    except (MisconfigurationException, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not str(frame.f_globals.get("__name__")).startswith(("lightning.", "torch.optim")):
            raise
        raise ConfigError(f"trainer, optimizer: not possible here: {error}") from error


def _stopping(config: Config) -> list[Callback]:
    patience, min_delta = config.early_stopping.patience, config.early_stopping.min_delta
    if patience is None:
        return []
    return [EarlyStopping(config.monitor, min_delta, patience, mode=config.mode)]


def _quieten() -> None:
    """Keep what Lightning says at every start, and what is meant here, off the screen."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # only who asks for one has one
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the batches are in memory
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # one process needs none
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning.pytorch.utilities._pytree")
    warnings.filterwarnings("ignore", ".*barebones=True.* is configured.*")  # who chose it knows
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # the figures are those of an epoch
