"""One run, from a configuration to a number: the room where the parts meet. It owns the run folder."""

import io
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from rich.console import Console

from mlplab import process, run_folder
from mlplab.blocks import CompiledSteps
from mlplab.classifier import Classifier, make_optimizer
from mlplab.config import Config
from mlplab.datamodule import ImageDataModule
from mlplab.errors import ConfigError
from mlplab.logger import RunLogger
from mlplab.progress import Progress
from mlplab.randomness import Purpose, derive
from mlplab.summary import layer_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    metrics: dict[str, float]  # of the best weights, by name; an accuracy is a fraction of 1
    score: float  # the monitored figure, of training where there is no validation: what a sweep optimises
    folder: Path


def train(config: Config, folder: Path) -> Result:
    """Train, score the test set once with the best weights, and leave all of it in `folder`, result.json last.

    Raises:
        ConfigError: if the folder holds a run already, or torch or Lightning refuse a value.
        DataError: if the data set is missing or damaged.
        DivergedError: if the loss is not finite.
    """
    started = time.perf_counter()
    _quieten()
    process.tune()
    datamodule, classifier = build(config)
    trainer = _trainer(config, folder)
    run_folder.claim(folder)
    _introduce(datamodule, classifier, config.trainer.flags.get("enable_model_summary", True))
    with _refusals():
        untrained = _score_untrained(trainer, classifier, datamodule) if config.evaluate_untrained else {}
        fit_s = _fit(trainer, classifier, datamodule) - _steps(trainer).preparing_s
        best, test = _score_best(trainer, classifier, datamodule, folder)

    metrics = untrained | {name: value for name, value in best.items() if "/" in name} | test
    score = metrics.get(config.monitor, metrics[config.monitor.replace("val/", "train/")])
    result = Result(metrics, score, folder)
    if trainer.is_global_zero:
        record = _record(config, trainer, classifier, datamodule) | {
            "metrics": metrics,
            "score": score,
            "best_epoch": best["epoch"],
            "fit_s": round(fit_s, 3),
            "total_s": round(time.perf_counter() - started, 3),
            "images_per_s": round(classifier.images_seen / fit_s, 1),
        }
        run_folder.write_result(folder, record)
        log.info(
            f"test accuracy {metrics['test/acc']:.2%}, loss {metrics['test/loss']:.4f}, with the weights of epoch"
            f" {best['epoch']}\ntrained in {fit_s:.1f} s, {record['images_per_s']:,.0f} images/s\n"
            f"run folder {run_folder.short(folder)}"
        )
    return result


def rehearse(config: Config) -> None:
    """Make what torch and Lightning might refuse, without data and without writing anything.

    Raises:
        ConfigError: if they do.
    """
    _quieten()
    _trainer(config, Path())
    weights = [torch.nn.Parameter(torch.zeros(1))]
    optimizer, scheduler = (part.model_dump(exclude_unset=True) for part in (config.optimizer, config.scheduler))
    make_optimizer(weights, optimizer, scheduler, length=1000)


def build(config: Config) -> tuple[ImageDataModule, Classifier]:
    """The data, read and verified, and an untrained classifier that fits them."""
    datamodule = ImageDataModule(**config.data.model_dump(), seed=config.seed)
    datamodule.setup()
    torch.manual_seed(derive(config.seed, Purpose.WEIGHTS))
    classifier = Classifier(
        **config.model.model_dump(),
        image_shape=datamodule.info.image_shape,
        classes=datamodule.info.classes,
        optimizer=config.optimizer.model_dump(exclude_unset=True),
        scheduler=config.scheduler.model_dump(exclude_unset=True),
        monitor=config.monitor,
        seed=config.seed,
    )
    return datamodule, classifier


def _quieten() -> None:
    """Keep what Lightning says at every start, and what is meant here, off the screen."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # only who asks for one has one
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the batches are in memory
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # the folder was claimed just before
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning.pytorch.utilities._pytree")
    warnings.filterwarnings("ignore", ".*barebones=True.* is configured.*")  # who chose it knows
    warnings.filterwarnings("ignore", ".*could not find the monitored key.*")  # trainer.max_steps ended before it
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # the figures are those of an epoch


def _trainer(config: Config, folder: Path) -> Trainer:
    flags = config.trainer.flags
    bar = flags.pop("enable_progress_bar")
    devices = flags.get("devices")
    available = max(os.cpu_count() or 1, torch.cuda.device_count())
    if isinstance(devices, int) and devices > available:  # Lightning would start so many processes
        raise ConfigError(f"trainer.devices: must be at most {available} on this machine, got {devices}")
    if flags.get("barebones"):  # Lightning wants to hear it of each
        flags |= {"logger": False, "enable_checkpointing": False}
    if not config.validates:
        flags["limit_val_batches"] = 0
    flags["logger"] = RunLogger(folder) if flags.get("logger", True) else False
    callbacks: list[Callback] = [
        CompiledSteps(config.compile),  # says what it does before there is a bar
        Progress(bar=sys.stderr.isatty() if bar is None else bar),
        *_stopping(config),
    ]
    if flags.get("enable_checkpointing", True):
        callbacks += _checkpoints(config, folder)
    flags |= {"enable_progress_bar": False, "enable_model_summary": False}  # there are others in their place
    try:
        # Files are written by a thread of their own, while training goes on.
        return Trainer(**flags, callbacks=callbacks, plugins=[AsyncCheckpointIO()], default_root_dir=folder)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"trainer: Lightning refuses these flags: {error}") from error


def _stopping(config: Config) -> list[Callback]:
    patience, min_delta = config.early_stopping.patience, config.early_stopping.min_delta
    if patience is None:
        return []
    return [EarlyStopping(config.monitor, min_delta, patience, mode=config.mode)]


def _checkpoints(config: Config, folder: Path) -> list[Callback]:
    """Two, because `save_last` of the best one would write only when the best changes."""
    kinds: dict[str, dict[str, Any]] = {"last": {"save_on_train_epoch_end": True}}
    if config.validates:
        kinds["best"] = {"monitor": config.monitor, "mode": config.mode}
    paths = {name: run_folder.checkpoint(folder, name) for name in kinds}
    return [
        ModelCheckpoint(paths[name].parent, paths[name].stem, enable_version_counter=False, **when)
        for name, when in kinds.items()
    ]


def _introduce(datamodule: ImageDataModule, classifier: Classifier, with_layers: bool) -> None:
    """Say what is trained on what."""
    info = datamodule.info
    height, width = info.image_shape[1:]
    text = io.StringIO()
    if with_layers:
        Console(file=text, width=80).print(layer_table(classifier.mlp, info.image_shape))
    log.info(
        f"{datamodule.name}: {len(datamodule.train_rows):,} images to train, {len(datamodule.val_rows):,} to validate,"
        f" {height}x{width} pixels, {len(info.classes)} classes\n{text.getvalue()}".rstrip()
    )


def _score_untrained(trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule) -> dict[str, float]:
    trainer.validate(classifier, datamodule=datamodule, verbose=False)
    figures = classifier.figures
    log.info(f"untrained  val loss {figures['val/loss']:.4f} acc {figures['val/acc']:.4f}")
    return {f"untrained/{name}": value for name, value in figures.items()}


def _fit(trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule) -> float:
    """Train, and return the seconds it took. Lightning hides a signal: SIGINT would end with 1 and SIGTERM with 0."""
    started = time.perf_counter()
    try:
        trainer.fit(classifier, datamodule=datamodule)
    except SystemExit:
        if trainer.received_sigterm:
            sys.exit(143)
        raise KeyboardInterrupt from None
    if len(classifier.history) < (trainer.max_epochs or 0) and trainer.is_global_zero:
        log.info(f"stopped early, after {len(classifier.history)} of {trainer.max_epochs} epochs")
    return time.perf_counter() - started


def _score_best(
    trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule, folder: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Load the best weights and score the test set: figures of their epoch, and of the test."""
    history = classifier.history
    if not history:
        raise ConfigError("Not one epoch was trained: trainer.max_time is too short.")
    if trainer.is_global_zero:
        run_folder.choose_best(folder)
    trainer.strategy.barrier()
    weights = run_folder.best_weights(folder)
    trainer.test(classifier, datamodule=datamodule, ckpt_path=weights, weights_only=True, verbose=False)
    test = {name: value for name, value in classifier.figures.items() if name.startswith("test/")}
    # Loading the weights brought the history up to them; what is wanted is that of the whole run.
    classifier.history = history
    if weights is None:
        return history[-1], test
    of_epoch = history[int(classifier.loaded_figures["epoch"]) - 1]
    return {**of_epoch, **classifier.loaded_figures}, test


def _record(config: Config, trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule) -> dict[str, Any]:
    """What result.json says beside the figures of the run."""
    return {
        "status": "completed",
        "monitor": config.monitor,
        "epochs": len(classifier.history),
        "steps": trainer.global_step,
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "train_images": len(datamodule.train_rows),
        "val_images": len(datamodule.val_rows),
        "seed": config.seed,
        "compiled": _steps(trainer).used,
        "compile_s": round(_steps(trainer).preparing_s, 3),
        "config_hash": config.hash,
        "versions": {package: version(package) for package in ("mlplab", "torch", "lightning")},
        "history": classifier.history,
    }


def _steps(trainer: Trainer) -> CompiledSteps:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next(callback for callback in callbacks if isinstance(callback, CompiledSteps))


@contextmanager
def _refusals() -> Iterator[None]:
    """What Lightning and torch.optim refuse once they have seen the data, as a mistake of the configuration."""
    try:
        yield
    except (MisconfigurationException, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not str(frame.f_globals.get("__name__")).startswith(("lightning.", "torch.optim")):
            raise
        raise ConfigError(f"trainer, optimizer: not possible here: {error}") from error
