"""Mistakes that lie in two keys together."""

from collections.abc import Iterator

from mlplab.config.datasets import DATASETS
from mlplab.config.schema import Config, Trainer


def mistakes(config: Config) -> Iterator[str]:
    """Yield a line for each."""
    for complaints in (_without_validation, _trainer, _schedule, _optimizer, _regularization):
        yield from complaints(config)


def _without_validation(config: Config) -> Iterator[str]:
    wants = {
        "early_stopping.patience": config.early_stopping.patience is not None,
        "evaluate_untrained": config.evaluate_untrained,
        "scheduler.name=ReduceLROnPlateau": config.scheduler.name == "ReduceLROnPlateau",
    }
    if not config.validates:
        yield from (f"{key}: needs validation images, data.val_size" for key, wanted in wants.items() if wanted)
    if config.early_stopping.patience is not None and config.trainer.flags.get("barebones"):
        yield "early_stopping.patience: not possible with trainer.barebones"


def _trainer(config: Config) -> Iterator[str]:
    """Flags that would be ignored, or mean something else."""
    trainer, flags = config.trainer, config.trainer.flags
    if not _is_one_device(trainer):
        yield "trainer.devices: one run trains on one device; a sweep (-m) uses several, one for each job"
    if flags.get("num_nodes", 1) != 1:
        yield "trainer.num_nodes: one run trains on one device; a sweep (-m) uses several"
    if flags.get("strategy", "auto") != "auto":
        yield "trainer.strategy: one run trains on one device"
    if flags.get("accumulate_grad_batches", 1) != 1:
        yield "trainer.accumulate_grad_batches: not supported; multiply data.batch_size instead"
    if flags.get("min_steps") is not None:
        yield "trainer.min_steps: not supported; use trainer.min_epochs"
    if flags.get("detect_anomaly") is True:
        yield "trainer.detect_anomaly: not supported; a loss that is not finite ends a run"
    if trainer.min_epochs and trainer.max_steps >= 0:
        yield "trainer.min_epochs: not possible with trainer.max_steps"
    if (trainer.min_epochs or 0) > trainer.max_epochs:
        yield "trainer.min_epochs: must be at most trainer.max_epochs"


def _is_one_device(trainer: Trainer) -> bool:
    return trainer.devices in (1, "1") or (isinstance(trainer.devices, tuple) and len(trainer.devices) == 1)


def _schedule(config: Config) -> Iterator[str]:
    scheduler = config.scheduler
    if scheduler.name == "ReduceLROnPlateau":
        if scheduler.interval == "step":
            yield "scheduler.interval: must be epoch for ReduceLROnPlateau, got step"
        if (scheduler.model_extra or {}).get("mode", "min") != config.mode:
            yield f"scheduler.mode: must be {config.mode} for monitor={config.monitor}"
    if scheduler.warmup and scheduler.name in ("OneCycleLR", "CyclicLR", "ReduceLROnPlateau"):
        yield f"scheduler.warmup: not possible with {scheduler.name}"
    elif scheduler.warmup and scheduler.interval != "step" and (scheduler.name or scheduler.interval):
        yield "scheduler.warmup: counts steps: needs scheduler.interval=step"


def _optimizer(config: Config) -> Iterator[str]:
    optimizer = config.optimizer
    if optimizer.name == "SGD" and optimizer.nesterov and (not optimizer.momentum or optimizer.dampening):
        yield "optimizer.nesterov: needs optimizer.momentum, and no dampening"
    if optimizer.name == "RMSprop" and (optimizer.alpha or 0) >= 1:
        yield "optimizer.alpha: must be below 1 for RMSprop"


def _regularization(config: Config) -> Iterator[str]:
    chosen = config.regularization
    if chosen.max_norm is not None and not config.model.hidden:
        yield "regularization.max_norm: needs a hidden layer, model.hidden"
    for key, averaging in (("ema_decay", "ema"), ("swa_start", "swa")):
        default = type(chosen).model_fields[key].default
        if getattr(chosen, key) != default and chosen.averaging != averaging:
            yield f"regularization.{key}: needs regularization.averaging={averaging}"
    images, size = DATASETS[config.data.name].train_images - config.data.val_size, config.data.batch_size
    left = images % size if isinstance(config.trainer.limit_train_batches, float) else 0  # of the last batch
    if config.model.batch_norm and 1 in (size, left):
        yield (
            f"model.batch_norm: a batch of one image has no variance, and {images} training images in batches of {size}"
            " end in one: choose another data.batch_size or data.val_size"
        )
