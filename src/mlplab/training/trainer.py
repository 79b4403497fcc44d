"""The Lightning Trainer of a run, with the callbacks of its configuration."""

import logging
import math
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer

from mlplab.config.schema import BFLOAT16_IF_FAST, Config
from mlplab.errors import ConfigError
from mlplab.monitoring.progress import Progress
from mlplab.monitoring.tensorboard_logger import RunLogger
from mlplab.runs import folder as run_folder
from mlplab.runs import provenance
from mlplab.runs.checkpoint_writer import DurableCheckpointIO
from mlplab.training.checkpointing import BestCheckpoint, LastCheckpoint, RunState

log = logging.getLogger(__name__)

# Flags that are handled by the classifier, or by the callback that stops a run.
NOT_OF_A_TRAINER = ("gradient_clip_val", "gradient_clip_algorithm", "max_steps", "max_time")


def saves(config: Config) -> bool:
    """Tell whether a run writes checkpoints."""
    return not is_bare(config) and bool(config.trainer.flags.get("enable_checkpointing", True))


def is_bare(config: Config) -> bool:
    """Tell whether Lightning's barebones mode disables all output."""
    return bool(config.trainer.flags.get("barebones"))


def make_trainer(
    config: Config,
    folder: Path,
    state: RunState,
    logger: RunLogger | None,
    callbacks: Sequence[Callback],
    begun_with: str | None = None,
) -> Trainer:
    """Make the Trainer of a run, without writing files. A run keeps the precision that it has `begun_with`.

    Raises:
        ConfigError: if Lightning refuses a flag.
    """
    _quieten()
    flags = {key: value for key, value in config.trainer.flags.items() if key not in NOT_OF_A_TRAINER}
    bar = flags.pop("enable_progress_bar")
    keeps = config.trainer.precision == BFLOAT16_IF_FAST and begun_with in ("bf16-mixed", "32-true")
    # Progress bar and summary are our own; one process trains on one device, whatever torchrun or SLURM say.
    flags |= {
        "precision": begun_with if keeps else precision(config),
        "logger": logger or False,
        "enable_checkpointing": saves(config),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "plugins": [DurableCheckpointIO(), LightningEnvironment()],
    }
    if not config.validates:
        flags["limit_val_batches"] = 0
    all_callbacks = [Progress(sys.stderr.isatty() if bar is None else bar, folder), *callbacks]
    if config.early_stopping.patience is not None:
        patience, min_delta = config.early_stopping.patience, config.early_stopping.min_delta
        all_callbacks.append(EarlyStopping(config.monitor, min_delta, patience, mode=config.mode))
    if saves(config) and config.validates:
        all_callbacks.append(BestCheckpoint(run_folder.checkpoint(folder, "best"), config.monitor, config.mode))
    if saves(config):
        all_callbacks.append(LastCheckpoint(run_folder.checkpoint(folder, "last"), state))
    try:
        return Trainer(**flags, callbacks=all_callbacks, default_root_dir=folder)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise ConfigError(f"trainer: Lightning refuses these flags: {error}") from error


def max_seconds(config: Config) -> float:
    """Return the time limit of a run in seconds, after which it is saved, so that it can be resumed."""
    given = config.trainer.flags.get("max_time")
    try:
        seconds = Timer(given).time_remaining()
    except (MisconfigurationException, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(f"trainer.max_time: must be days:hours:minutes:seconds, got {given!r}") from error
    if seconds is not None and not saves(config):
        raise ConfigError("trainer.max_time: needs checkpoints to resume from")
    return math.inf if seconds is None else seconds


def precision(config: Config) -> str | int:
    """Resolve bf16-if-fast; return any other precision unchanged."""
    asked = config.trainer.precision
    if "bf16" not in str(asked):
        return asked
    if provenance.has_bfloat16(config.trainer.accelerator):
        return "bf16-mixed" if asked == BFLOAT16_IF_FAST else asked
    hardware = "this processor, which has no bfloat16 instructions"
    if asked == BFLOAT16_IF_FAST:
        _say_once(logging.INFO, f"precision 32-true on {hardware}")
        return "32-true"
    # Measured for an epoch of mnist_98_fast on a Xeon without the instructions.
    _say_once(logging.WARNING, f"trainer.precision={asked} is about 4 times slower than 32-true on {hardware}")
    return asked


@cache  # a sweep checks many jobs
def _say_once(level: int, text: str) -> None:
    log.log(level, text)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn errors that Lightning and torch.optim raise only once they have the data into a ConfigError."""
    try:
        yield
    except (MisconfigurationException, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not str(frame.f_globals.get("__name__")).startswith(("lightning.", "torch.optim")):
            raise
        raise ConfigError(f"trainer, optimizer: not possible: {error}") from error


def _quieten() -> None:
    """Suppress Lightning's messages at every start, and its warnings about what is intended here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # only on request
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the batches are in memory
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # one process needs none
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning.pytorch.utilities._pytree")
    warnings.filterwarnings("ignore", ".*barebones=True.* is configured.*")  # it was chosen
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # values are logged by epoch
