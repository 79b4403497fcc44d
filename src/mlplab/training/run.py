"""One run, from a configuration to a number: the room where the parts meet. It owns the run folder."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from mlplab import startup
from mlplab.config.schema import Config
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import CheckpointError, ConfigError, DivergedError, Interrupted
from mlplab.model.classifier import Classifier
from mlplab.model.optimizers import make_optimizer
from mlplab.model.summary import layer_table
from mlplab.randomness import Purpose, derive
from mlplab.runs import checkpoint_file, device
from mlplab.runs import folder as run_folder
from mlplab.runs.provenance import changed, versions
from mlplab.training import restore
from mlplab.training.trainer import Parts, make_trainer, refusals

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    metrics: dict[str, float]  # of the best weights, by name; an accuracy is a fraction of 1
    score: float  # the monitored figure, of training where there is no validation: what a sweep optimises
    folder: Path


def train(
    config: Config,
    folder: Path,
    resume: bool = False,
    began: Callable[[], None] = lambda: None,
    anyway: bool = False,
) -> Result:
    """Train, score the test set once with the best weights, and leave all of it in `folder`, result.json last.

    Args:
        config: the run.
        folder: its own folder.
        resume: go on where an earlier process stopped in that folder; from the start if nothing was saved.
        began: called when nothing stands in the way any more.
        anyway: go on even where the arithmetic is another than that of the weights so far.

    Raises:
        ConfigError: if the folder holds a run already, or torch or Lightning refuse a value, or the run cannot go on
            with the arithmetic that it began with.
        DataError: if the data set is missing or damaged.
        CheckpointError: if a checkpoint cannot be written, or there is none to go on from that can be read.
        DivergedError: if the loss is not finite.
        Interrupted: after a signal.
    """
    startup.tune()
    with run_folder.locked(folder):
        if not resume:
            run_folder.refuse_used(folder)
        with _noted(folder):
            before = restore.made_with(folder) if resume else []
            begun_with = before[-1] if before and not anyway else {}
            _keep_threads(begun_with)
            parts = make_trainer(config, folder, begun_with)
            parts.last.made_with = [*before, _made_with(parts)]
            _refuse_other_arithmetic(folder, begun_with, parts.last.made_with[-1])
            with parts.interruption.noticed():
                return _train(config, folder, resume, began, parts)


def rehearse(config: Config) -> None:
    """Make what torch and Lightning might refuse, without data and without writing anything.

    Raises:
        ConfigError: if they do.
    """
    make_trainer(config, Path())
    weights = [torch.nn.Parameter(torch.zeros(1))]
    optimizer, scheduler = (part.model_dump(exclude_unset=True) for part in (config.optimizer, config.scheduler))
    make_optimizer(weights, optimizer, scheduler, length=1000 + config.scheduler.warmup)


def build(config: Config) -> tuple[ImageDataModule, Classifier]:
    """The data, read and verified, and an untrained classifier that fits them."""
    augment = config.regularization.distortions
    datamodule = ImageDataModule(**config.data.model_dump(), seed=config.seed, augment=augment)
    datamodule.setup()
    torch.manual_seed(derive(config.seed, Purpose.WEIGHTS))
    classifier = Classifier(
        **config.model.model_dump(),
        **config.regularization.arguments,
        gradient_clip_val=config.trainer.gradient_clip_val,
        gradient_clip_algorithm=config.trainer.gradient_clip_algorithm,
        max_steps=config.trainer.max_steps,
        image_shape=datamodule.info.image_shape,
        classes=datamodule.info.classes,
        optimizer=config.optimizer.model_dump(exclude_unset=True),
        scheduler=config.scheduler.model_dump(exclude_unset=True),
        monitor=config.monitor,
        seed=config.seed,
    )
    if config.trainer.precision in (64, "64", "64-true"):
        classifier.double()  # Lightning would do so only after it has put a checkpoint into floats of 32 bits
    return datamodule, classifier


def _train(config: Config, folder: Path, resume: bool, began: Callable[[], None], parts: Parts) -> Result:
    started = time.perf_counter()
    datamodule, classifier = build(config)
    run_folder.claim(folder, again=resume)
    # Weights and two buffers each, of the best, the last and the one before it; and one more while it is written.
    if parts.last in parts.trainer.callbacks:  # type: ignore[attr-defined]
        run_folder.make_sure_of_room(folder, 3 * 4 * sum(weight.nbytes for weight in classifier.parameters()))
    last = _where_it_stopped(folder, classifier, datamodule, parts) if resume else None
    earlier_versions = _note_versions(folder, parts, goes_on=last is not None)
    began()
    _introduce(datamodule, classifier, config.trainer.flags.get("enable_model_summary", True))
    with refusals():
        if config.evaluate_untrained and last is None:
            parts.last.untrained = _score_untrained(parts.trainer, classifier, datamodule)
        fit_s = _fit(parts, classifier, datamodule, last)
        best, test = _score_best(parts, classifier, datamodule, folder)
    earlier_s = parts.last.seconds  # in processes before this one

    metrics = parts.last.untrained | {name: value for name, value in best.items() if "/" in name} | test
    score = metrics.get(config.monitor, metrics[config.monitor.replace("val/", "train/")])
    record = _record(config, parts, classifier, datamodule) | {
        "earlier_versions": earlier_versions,
        "metrics": metrics,
        "score": score,
        "best_epoch": best["epoch"],
        "fit_s": round(fit_s, 3),
        "images_per_s": round(classifier.images_seen / fit_s, 1),
    }
    if parts.logger is not None:
        best_val = {"val/acc_best": metrics["val/acc"]} if "val/acc" in metrics else {}
        parts.logger.log_result(
            _hyperparameters(config), {**best_val, "test/acc": metrics["test/acc"]}, classifier.steps
        )
    if parts.board in parts.trainer.callbacks:  # type: ignore[attr-defined]
        parts.board.finish(parts.trainer, classifier, int(best["epoch"]))
    record["total_s"] = round(earlier_s + time.perf_counter() - started, 3)
    parts.interruption.is_ignored = True  # from here on the work is done
    run_folder.write_result(folder, record)
    log.info(
        f"test accuracy {metrics['test/acc']:.2%}, loss {metrics['test/loss']:.4f}, with the weights of epoch"
        f" {best['epoch']}\ntrained in {fit_s:.1f} s, {record['images_per_s']:,.0f} images/s\n"
        f"run folder {run_folder.short(folder)}"
    )
    return Result(metrics, score, folder)


@contextmanager
def _noted(folder: Path) -> Iterator[None]:
    """How the run stands, in status.json."""
    run_folder.write_status(folder, "running")
    try:
        yield
    except BaseException as error:
        state: run_folder.State = "failed"
        if run_folder.read_result(folder) is not None:  # of this run, or of the shorter one that it was to make longer
            state = "completed"
        elif isinstance(error, Interrupted | KeyboardInterrupt | SystemExit):
            state = "interrupted"
        elif isinstance(error, DivergedError):
            state = "diverged"
        run_folder.write_status(folder, state, reason=(str(error) or type(error).__name__).splitlines()[0])
        raise
    run_folder.write_status(folder, "completed")


def _made_with(parts: Parts) -> dict[str, str]:
    """What this process trains with: versions, and what decides the arithmetic."""
    return versions() | device.arithmetic(parts.trainer.strategy.root_device, str(parts.trainer.precision))


def _keep_threads(begun_with: Mapping[str, str]) -> None:
    """Sums over parts that are computed side by side have other last bits with another number of parts."""
    threads = begun_with.get("threads", "")
    if threads.isdecimal() and 1 <= int(threads) <= (os.cpu_count() or 1) and int(threads) != torch.get_num_threads():
        log.info(f"goes on with {threads} threads, as it began")
        torch.set_num_threads(int(threads))


def _refuse_other_arithmetic(folder: Path, begun_with: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises ConfigError if the weights would be others than those of the run that nobody stopped."""
    decides = {key: begun_with[key] for key in now.keys() & begun_with.keys() - {"code", "mlplab", "lightning"}}
    if differences := changed(decides, now):
        raise ConfigError(
            f"{run_folder.short(folder)}: cannot go on as it began: {differences}.\n"
            "Its weights would come out different. Go on where it began, or add resume_anyway=true, and result.json"
            " will say so."
        )


def _note_versions(folder: Path, parts: Parts, goes_on: bool) -> list[dict[str, str]]:
    """What earlier processes that trained this run had that this one has not; status.json has all of it."""
    *noted, own = parts.last.made_with
    noted = noted or (run_folder.read_status(folder) or {}).get(
        "versions", []
    )  # of a version that noted it there alone
    before = [made_with for made_with in noted if changed(made_with, own)] if goes_on else []
    if before:
        log.warning(f"begun otherwise: {changed(before[-1], own)}; the result says so")
    parts.last.made_with = [*before, own]
    run_folder.write_status(folder, "running", versions=parts.last.made_with)
    return [{key: one[key] for key in one if one[key] != own.get(key)} for one in before]


def _where_it_stopped(folder: Path, classifier: Classifier, datamodule: ImageDataModule, parts: Parts) -> Path | None:
    """The checkpoint to go on from; curves and result are taken back to it."""
    callbacks: list[Callback] = parts.trainer.callbacks  # type: ignore[attr-defined]
    states = {callback.state_key: set(state) for callback in callbacks if (state := callback.state_dict())}
    last = restore.to_go_on(folder, classifier, datamodule, states)
    content = {} if last is None else checkpoint_file.read(last)
    if parts.best is not None and content:
        restore.require_best(folder, classifier, datamodule, content["callbacks"][parts.best.state_key]["best"])
    run_folder.set_result_aside(folder)
    epochs = len(content.get("history", []))
    if parts.logger is not None:
        parts.logger.go_back(content.get("global_step", 0), epochs)
    log.info(f"resuming {run_folder.short(folder)} in epoch {epochs + 1:,}")
    return last


def _introduce(datamodule: ImageDataModule, classifier: Classifier, with_layers: bool) -> None:
    """Say what is trained on what."""
    info = datamodule.info
    height, width = info.image_shape[1:]
    table = f"\n{layer_table(classifier.mlp, info.image_shape)}" if with_layers else ""
    log.info(
        f"{datamodule.name}: {len(datamodule.train_rows):,} images to train, {len(datamodule.val_rows):,} to validate,"
        f" {height}x{width} pixels, {len(info.classes)} classes{table}"
    )


def _score_untrained(trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule) -> dict[str, float]:
    trainer.validate(classifier, datamodule=datamodule, verbose=False)
    figures = classifier.metrics
    log.info(f"untrained  val loss {figures['val/loss']:.4f} acc {figures['val/acc']:.4f}")
    return {f"untrained/{name}": value for name, value in figures.items()}


def _fit(parts: Parts, classifier: Classifier, datamodule: ImageDataModule, last: Path | None) -> float:
    """Train, and return the seconds it took, in earlier processes too, without drawing."""
    started = time.perf_counter()
    trainer = parts.trainer
    try:
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=last, weights_only=True)
    except SystemExit:  # Lightning's, for a signal that came where nobody but it was listening
        if trainer.received_sigterm:
            sys.exit(143)
        raise KeyboardInterrupt from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        if last is None or parts.last.is_restored or isinstance(error, torch.OutOfMemoryError):
            raise
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise CheckpointError(f"{last}: the run cannot go on from it: {reason}") from error
    epochs, steps = len(classifier.history), classifier.max_steps
    if 0 <= steps <= classifier.steps:
        log.info(f"ended by trainer.max_steps={steps:,}, in epoch {epochs} of {trainer.max_epochs}")
    elif epochs < (trainer.max_epochs or 0):
        log.info(f"stopped early, after {epochs} of {trainer.max_epochs} epochs: early_stopping.patience is over")
    return parts.last.seconds + time.perf_counter() - started - parts.board.drawing_s


def _score_best(
    parts: Parts, classifier: Classifier, datamodule: ImageDataModule, folder: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Load the best weights and score the test set: figures of their epoch, and of the test."""
    trainer, history = parts.trainer, classifier.history
    if not history:
        raise ConfigError("Not one epoch was trained.")
    if parts.best is None or parts.best.best is None:
        run_folder.choose_best(folder)
    weights = run_folder.best_weights(folder)
    trainer.test(classifier, datamodule=datamodule, ckpt_path=weights, weights_only=True, verbose=False)
    test = {name: value for name, value in classifier.metrics.items() if name.startswith("test/")}
    if weights is None:
        return history[-1], test
    of_epoch = history[int(classifier.loaded_metrics["epoch"]) - 1]
    return {**of_epoch, **classifier.loaded_metrics}, test


def _hyperparameters(config: Config) -> dict[str, str | float]:
    """What most experiments vary, for TensorBoard."""
    decay = config.optimizer.weight_decay  # None: not an argument of this optimizer
    return {
        "data": config.data.name,
        "hidden": "x".join(map(str, config.model.hidden)) or "none",
        "dropout": max(config.model.dropout, default=0.0),
        "activation": config.model.activation,
        "optimizer": config.optimizer.name,
        "lr": config.optimizer.lr,
        **({} if decay is None else {"weight_decay": decay}),
        "scheduler": config.scheduler.name or "constant",
        "batch_size": config.data.batch_size,
        "max_epochs": config.trainer.max_epochs,
        "seed": config.seed,
    }


def _record(config: Config, parts: Parts, classifier: Classifier, datamodule: ImageDataModule) -> dict[str, Any]:
    """What result.json says beside the figures of the run."""
    return {
        "status": "completed",
        "monitor": config.monitor,
        "epochs": len(classifier.history),
        "max_epochs": config.trainer.max_epochs,
        "steps": classifier.steps,
        "parameters": sum(parameter.numel() for parameter in classifier.mlp.parameters()),
        "train_images": len(datamodule.train_rows),
        "val_images": len(datamodule.val_rows),
        "seed": config.seed,
        "precision": parts.trainer.precision,
        "config_hash": config.hash,
        "versions": versions(),
        "device": device.described(parts.trainer.strategy.root_device),
        "history": classifier.history,
        "config": config.recorded,
        **classifier.optimizer_settings,
    }
