"""Mistakes in combinations of keys."""

from collections.abc import Iterator, Mapping

from mlplab.config.schema import Config, Trainer

Complaints = Mapping[str, object]  # a message, and whether it applies


def mistakes(config: Config) -> Iterator[str]:
    """Yield a line for each mistake."""
    for complaints in (_data, _validation, _trainer, _schedule, _optimizer, _regularization):
        yield from (line for line, is_true in complaints(config).items() if is_true)


def _data(config: Config) -> Complaints:
    data = config.data
    of_own = "only for data=folder, csv and idx"
    return {
        f"data.prepare: {of_own}": data.prepare != "mnist" and not data.is_own,
        f"data.test_size: {of_own}": data.test_size != 0.2 and not data.is_own,
        "data.label_column: only for data=csv": data.label_column != "auto" and data.name != "csv",
    }


def _validation(config: Config) -> Complaints:
    is_missing, stops_early = not config.validates, config.early_stopping.patience is not None
    is_bare, needs = config.trainer.flags.get("barebones"), "needs validation images, data.val_size"
    return {
        f"early_stopping.patience: {needs}": is_missing and stops_early,
        f"evaluate_untrained: {needs}": is_missing and config.evaluate_untrained,
        f"scheduler.name=ReduceLROnPlateau: {needs}": is_missing and config.scheduler.name == "ReduceLROnPlateau",
        "early_stopping.patience: not possible with trainer.barebones": stops_early and is_bare,
    }


def _trainer(config: Config) -> Complaints:
    """Check for flags that would be ignored or mean something else."""
    trainer, flags, one = config.trainer, config.trainer.flags, "one run trains on one device"
    accumulates, detects = flags.get("accumulate_grad_batches", 1) != 1, flags.get("detect_anomaly") is True
    return {
        f"trainer.devices: {one}; a sweep (-m) uses several, one for each job": not _is_one_device(trainer),
        f"trainer.num_nodes: {one}; a sweep (-m) uses several": flags.get("num_nodes", 1) != 1,
        f"trainer.strategy: {one}": flags.get("strategy", "auto") != "auto",
        "trainer.accumulate_grad_batches: not supported; multiply data.batch_size instead": accumulates,
        "trainer.min_steps: not supported; use trainer.min_epochs": flags.get("min_steps") is not None,
        "trainer.detect_anomaly: not supported; a loss that is not finite ends a run": detects,
        "trainer.min_epochs: not possible with trainer.max_steps": trainer.min_epochs and trainer.max_steps >= 0,
        "trainer.min_epochs: must be at most trainer.max_epochs": (trainer.min_epochs or 0) > trainer.max_epochs,
    }


def _is_one_device(trainer: Trainer) -> bool:
    return trainer.devices in (1, "1") or (isinstance(trainer.devices, tuple) and len(trainer.devices) == 1)


def _schedule(config: Config) -> Complaints:
    name, interval, warmup = config.scheduler.name, config.scheduler.interval, config.scheduler.warmup
    on_plateau, has_own_warmup = name == "ReduceLROnPlateau", name in ("OneCycleLR", "CyclicLR", "ReduceLROnPlateau")
    mode = (config.scheduler.model_extra or {}).get("mode", "min")
    is_by_epoch = interval != "step" and (name or interval)
    return {
        "scheduler.interval: must be epoch for ReduceLROnPlateau, got step": on_plateau and interval == "step",
        f"scheduler.mode: must be {config.mode} for monitor={config.monitor}": on_plateau and mode != config.mode,
        f"scheduler.warmup: not possible with {name}": warmup and has_own_warmup,
        "scheduler.warmup: counts steps: needs scheduler.interval=step": warmup and is_by_epoch and not has_own_warmup,
    }


def _optimizer(config: Config) -> Complaints:
    optimizer = config.optimizer
    is_wrong = optimizer.nesterov and (not optimizer.momentum or optimizer.dampening)
    return {
        "optimizer.nesterov: needs optimizer.momentum, and no dampening": is_wrong and optimizer.name == "SGD",
        "optimizer.alpha: must be below 1 for RMSprop": optimizer.name == "RMSprop" and (optimizer.alpha or 0) >= 1,
    }


def _regularization(config: Config) -> Complaints:
    chosen, defaults = config.regularization, type(config.regularization).model_fields
    return {
        "regularization.max_norm: needs a hidden layer, model.hidden": chosen.max_norm and not config.model.hidden,
        **{
            f"regularization.{key}: needs regularization.averaging={averaging}": (
                chosen.averaging != averaging and getattr(chosen, key) != defaults[key].default
            )
            for key, averaging in (("ema_decay", "ema"), ("swa_start", "swa"))
        },
        **single_images(config, config.data.train_images),
    }


def single_images(config: Config, images: int | None) -> Complaints:
    """Check that no batch has one image; `images` is the number of training images, None if not known yet."""
    size = config.data.batch_size
    left = (images or 0) % size if isinstance(config.trainer.limit_train_batches, float) else 0  # of the last batch
    return {
        f"model.batch_norm: the last batch has one image, which has no variance ({images} training images in batches of"
        f" {size}): choose another data.batch_size or data.val_size": config.model.batch_norm and 1 in (size, left),
    }
