"""Trains, tests and records one run."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from mlplab import startup
from mlplab.config.schema import Config
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import CheckpointError, ConfigError, DataError, DivergedError, Paused
from mlplab.model.classifier import Classifier
from mlplab.model.summary import layer_table
from mlplab.monitoring import hyperparameters
from mlplab.monitoring.tensorboard import Board
from mlplab.monitoring.tensorboard_logger import RunLogger
from mlplab.runs import folder as run_folder
from mlplab.runs import folder_lock, provenance
from mlplab.runs.result import Pause, Result, State, Versions, read_result, write_status
from mlplab.training import last_checkpoint, restore
from mlplab.training.build import build
from mlplab.training.checkpointing import RunState
from mlplab.training.signals import Interruption
from mlplab.training.trainer import is_bare, make_trainer, max_seconds, refusals, saves

log = logging.getLogger(__name__)


def train(
    config: Config,
    folder: Path,
    resume: bool = False,
    began: Callable[[], None] = lambda: None,
    anyway: bool = False,
    pause_after: int | None = None,
) -> Result:
    """Train, score the test set once with the best weights, and write all files into `folder`, result.json last.

    Args:
        config: the run.
        folder: of the run.
        resume: resume a run in that folder; from the start if nothing was saved.
        began: called once all checks have passed.
        anyway: resume even if the arithmetic differs from that of the weights so far.
        pause_after: epochs after which a run of a search pauses, without using the test set; its last epoch, or None,
            to train to the end. A paused run is resumed like a stopped one, and ends like one that was never paused.

    Raises:
        ConfigError: if the folder already holds a run, torch or Lightning refuse a value, or the run cannot be resumed
            with the arithmetic that it began with.
        DataError: if the data set is missing or damaged.
        CheckpointError: if a checkpoint cannot be written, or no checkpoint can be read for a resume.
        DivergedError: if the loss is not finite.
        Interrupted: after a signal.
        Paused: after `pause_after` epochs; their metrics are in paused.json.
    """
    startup.tune()
    with folder_lock.locked(folder):
        if not resume:
            folder_lock.refuse_used(folder)
        with _noted(folder):
            return _train(config, folder, resume, began, anyway, pause_after)


def _train(
    config: Config, folder: Path, resume: bool, began: Callable[[], None], anyway: bool, pause_after: int | None
) -> Result:
    started = time.perf_counter()
    saved = last_checkpoint.read(folder) if resume else None
    state = last_checkpoint.state(folder, saved) if saved else RunState()
    begun_with = state.made_with[-1] if state.made_with and not anyway else {}
    _keep_threads(begun_with.get("threads", ""))
    logger = RunLogger(folder) if config.trainer.flags.get("logger", True) and not is_bare(config) else None
    board, interruption = Board(config, folder, logger), Interruption(folder, max_seconds(config), pause_after)
    shown = [] if is_bare(config) else [board]
    trainer = make_trainer(config, folder, state, logger, [*shown, interruption], begun_with.get("precision"))
    earlier_versions = _note_arithmetic(folder, state, trainer, begun_with)

    datamodule, classifier = build(config)
    folder_lock.claim(folder)
    if saves(config):  # weights and two buffers each, of the best, the last and the one before it
        folder_lock.make_sure_of_room(folder, 3 * 4 * sum(weight.nbytes for weight in classifier.parameters()))
    if saved:
        last_checkpoint.require_same_run(folder, saved, classifier, datamodule)
    if resume:
        _go_back(folder, saved or {}, logger)
    began()
    _introduce(datamodule, classifier, config.trainer.flags.get("enable_model_summary", True))

    with interruption.heard(), refusals():
        if config.evaluate_untrained and not saved:
            state.untrained = _score_untrained(trainer, classifier, datamodule)
        fit_started = time.perf_counter()
        try:
            _fit(trainer, classifier, datamodule, folder, saved)
        except Paused:
            seconds = state.seconds + time.perf_counter() - fit_started
            run_folder.pause(folder, Pause(config_hash=config.hash, seconds=seconds, history=classifier.history))
            accs = [epoch["val/acc"] for epoch in classifier.history if "val/acc" in epoch]
            _add_row(logger, config, {"val/acc": max(accs)} if accs else {}, classifier.steps)
            raise
        fit_s = state.seconds + time.perf_counter() - fit_started - board.drawing_s
        best, test = _score_best(trainer, classifier, datamodule, folder)

        metrics = state.untrained | {name: value for name, value in best.items() if "/" in name} | test
        # A row lacks no metric of the others, or TensorBoard hides it: paused runs of a search have no test accuracy.
        row = {name: acc for name, acc in metrics.items() if name == "val/acc" or pause_after is None}
        _add_row(logger, config, row, classifier.steps)
        if shown:
            board.finish(trainer, classifier, int(best["epoch"]))
        result = Result(
            **_facts(config, folder, trainer, classifier, datamodule),
            earlier_versions=earlier_versions,
            metrics=metrics,
            score=metrics.get(config.monitor, metrics[config.monitor.replace("val/", "train/")]),
            best_epoch=int(best["epoch"]),
            fit_s=round(fit_s, 3),
            images_per_s=round(classifier.images_seen / fit_s, 1),
            total_s=round(state.seconds + time.perf_counter() - started, 3),
        )
        run_folder.complete(result)
    log.info(
        f"test accuracy {metrics['test/acc']:.2%}, loss {metrics['test/loss']:.4f}, with the weights of epoch"
        f" {result.best_epoch}\ntrained in {fit_s:.1f} s, {result.images_per_s:,.0f} images/s\n"
        f"run folder {run_folder.short(folder)}"
    )
    return result


@contextmanager
def _noted(folder: Path) -> Iterator[None]:
    """Keep status.json up to date."""
    write_status(folder, "running")
    try:
        yield
    except BaseException as error:
        status: State = "failed" if isinstance(error, Exception) else "interrupted"
        if read_result(folder) is not None:  # of this run, or of the shorter one that it extends
            status = "completed"
        elif isinstance(error, DivergedError):
            status = "diverged"
        elif isinstance(error, Paused):
            status = "paused"
        counts = not isinstance(error, ConfigError | DataError | CheckpointError)  # those are no fault of the network
        write_status(folder, status, run_folder.first_line(error), counts=counts)
        raise
    write_status(folder, "completed")


def _keep_threads(threads: str) -> None:
    """Use as many threads as the run began with, because another number changes the rounding of sums."""
    if threads.isdecimal() and 1 <= int(threads) <= (os.cpu_count() or 1) and int(threads) != torch.get_num_threads():
        log.info(f"using {threads} threads, as when the run began")
        torch.set_num_threads(int(threads))


def _note_arithmetic(folder: Path, state: RunState, trainer: Trainer, begun_with: Versions) -> list[dict[str, str]]:
    """Record versions and arithmetic of this process, and return the differences of earlier ones.

    Raises:
        ConfigError: if the weights would differ from those of a run that continues as it has `begun_with`.
    """
    now = provenance.versions() | provenance.arithmetic(trainer.strategy.root_device, str(trainer.precision))
    before = [made_with for made_with in state.made_with if provenance.changed(made_with, now)]
    decides = {key: begun_with[key] for key in begun_with.keys() - {"code", "mlplab", "lightning"}}
    if differences := provenance.changed(decides, now):
        raise ConfigError(
            f"{run_folder.short(folder)}: cannot be resumed as it began: {differences}.\n"
            "Its weights would differ. Resume where it began, or add resume_anyway=true, which result.json"
            " will record."
        )
    if before:
        log.warning(f"resumed with other versions: {provenance.changed(before[-1], now)}; the result records it")
    state.made_with = [*before, now]
    write_status(folder, "running", versions=state.made_with)
    return [{key: one[key] for key in one if one[key] != now.get(key)} for one in before]


def _go_back(folder: Path, saved: Mapping[str, Any], logger: RunLogger | None) -> None:
    """Truncate curves and set the result aside, to match the checkpoint."""
    run_folder.set_result_aside(folder)
    epochs = len(saved.get("history", []))
    if logger is not None:
        logger.go_back(saved.get("global_step", 0), epochs)
    log.info(f"resuming {run_folder.short(folder)} in epoch {epochs + 1:,}")


def _introduce(datamodule: ImageDataModule, classifier: Classifier, with_layers: bool) -> None:
    """Log the data set and the table of layers."""
    info = datamodule.info
    height, width = info.image_shape[1:]
    table = f"\n{layer_table(classifier.mlp, info.image_shape)}" if with_layers else ""
    log.info(
        f"{datamodule.label}: {len(datamodule.train_rows):,} images to train, {len(datamodule.val_rows):,} to validate,"
        f" {height}x{width} pixels, {len(info.classes)} classes{table}"
    )


def _score_untrained(trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule) -> dict[str, float]:
    trainer.validate(classifier, datamodule=datamodule, verbose=False)
    metrics = classifier.metrics
    log.info(f"untrained  val loss {metrics['val/loss']:.4f} acc {metrics['val/acc']:.4f}")
    return {f"untrained/{name}": value for name, value in metrics.items()}


def _fit(
    trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule, folder: Path, saved: dict[str, Any] | None
) -> None:
    last = run_folder.checkpoint(folder, "last") if saved else None
    try:
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=last, weights_only=True)
    except restore.MISFIT as error:
        has_begun = saved is None or classifier.steps > saved.get("global_step", 0)
        if has_begun or isinstance(error, torch.OutOfMemoryError):
            raise
        raise CheckpointError(f"{last}: the run cannot be resumed from it: {restore.reason(error)}") from error
    epochs, steps = len(classifier.history), classifier.max_steps
    if 0 <= steps <= classifier.steps:
        log.info(f"ended by trainer.max_steps={steps:,}, in epoch {epochs} of {trainer.max_epochs}")
    elif epochs < (trainer.max_epochs or 0):
        log.info(
            f"stopped early after {epochs} of {trainer.max_epochs} epochs: no improvement in early_stopping.patience"
        )


def _score_best(
    trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule, folder: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Load the best weights and score the test set; return the metrics of their epoch, and of the test."""
    if not classifier.history:
        raise ConfigError("No epoch was trained.")
    run_folder.choose_best(folder)
    best = run_folder.best_weights(folder)
    trainer.test(classifier, datamodule=datamodule, ckpt_path=best, weights_only=True, verbose=False)
    test = {name: value for name, value in classifier.metrics.items() if name.startswith("test/")}
    if best is None:
        return classifier.history[-1], test
    of_epoch = classifier.history[int(classifier.loaded_metrics["epoch"]) - 1]
    return {**of_epoch, **classifier.loaded_metrics}, test


def _add_row(logger: RunLogger | None, config: Config, metrics: Mapping[str, float], step: int) -> None:
    """Add a row to TensorBoard's HParams tab."""
    names = {"val/acc": "val/acc_best", "test/acc": "test/acc"}
    if logger is not None:
        row = {shown: metrics[name] for name, shown in names.items() if name in metrics}
        logger.log_result(hyperparameters.row(config), row, step)


def _facts(
    config: Config, folder: Path, trainer: Trainer, classifier: Classifier, datamodule: ImageDataModule
) -> dict[str, Any]:
    """Collect the facts of the result other than metrics and times."""
    return {
        "folder": folder,
        "status": "completed",
        "monitor": config.monitor,
        "epochs": len(classifier.history),
        "max_epochs": config.trainer.max_epochs,
        "steps": classifier.steps,
        "parameters": sum(parameter.numel() for parameter in classifier.mlp.parameters()),
        "train_images": len(datamodule.train_rows),
        "val_images": len(datamodule.val_rows),
        "seed": config.seed,
        "precision": trainer.precision,
        "config_hash": config.hash,
        "versions": provenance.versions(),
        "device": provenance.device(trainer.strategy.root_device),
        "history": classifier.history,
        "config": config.recorded,
        **classifier.optimizer_settings,
    }
