"""What the compiled step does not do, so that a run which wants it trains the ordinary way."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint, ProgressBar, Timer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn, optim

from mlplab import updates
from mlplab.classifier import Classifier
from mlplab.datamodule import ImageDataModule
from mlplab.step import CompilationError

# What the compiled step does in its own way, so that a subclass which does it otherwise has to train the ordinary way.
OWN_WAY = {
    Classifier: ("forward", "training_step", "optimizer_step", "backward", "configure_gradient_clipping"),
    ImageDataModule: (
        "normalized",
        "batch_seeds",
        "train_dataloader",
        "on_after_batch_transfer",
        "transfer_batch_to_device",
    ),
}

# What a callback may want of each step by itself.
GRADIENT_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end")
CONTENT_WITH_BLOCKS = (ProgressBar, ModelCheckpoint, Timer)  # and those of this project


def parts(trainer: Trainer, module: LightningModule) -> tuple[Classifier, ImageDataModule, optim.Optimizer]:
    """What the compiled step is made of.

    Raises:
        CompilationError: if the run wants something that the step does not do.
    """
    datamodule = getattr(trainer, "datamodule", None)
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if not isinstance(module, Classifier) or not isinstance(datamodule, ImageDataModule):
        raise CompilationError("it is made for Classifier and ImageDataModule")
    (optimizer,) = trainer.optimizers
    hooks = [
        f"{type(callback).__name__}.{hook}"
        for callback in callbacks
        for hook in (GRADIENT_HOOKS if _takes_blocks(callback) else (*GRADIENT_HOOKS, *BATCH_HOOKS))
        if is_overridden(hook, callback, parent=Callback)
    ]
    hooks += [
        f"{type(module).__name__}.{hook}"
        for hook in ("training_step", "optimizer_step", *GRADIENT_HOOKS)
        if is_overridden(hook, module, parent=Classifier)
    ]
    changed = [
        f"{type(part).__name__}.{name}"
        for part in (module, datamodule)
        for kind, names in OWN_WAY.items()
        if isinstance(part, kind)
        for name in names
        if getattr(type(part), name) is not getattr(kind, name)
    ]
    reasons = {
        updates.obstacle(optimizer): True,
        "some weights are frozen": not all(weight.requires_grad for weight in module.mlp.parameters()),
        "the weights are in several groups": len(optimizer.param_groups) != 1,
        f"{', '.join(changed)} is not that of mlplab": bool(changed),
        f"{trainer.world_size} processes train together": trainer.world_size > 1,
        f"precision {trainer.precision}": trainer.precision not in ("32-true", "bf16-mixed"),
        f"it is not made for {module.device.type}": module.device.type not in ("cpu", "cuda"),
        "gradients of several batches are added up": trainer.accumulate_grad_batches > 1
        or any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks),
        "the batches are not in the order of the epoch": getattr(trainer, "overfit_batches", 0) != 0,
        "anomalies are looked for": trainer._detect_anomaly,
        "RReLU draws random numbers": any(isinstance(part, nn.RReLU) for part in module.mlp),
        "a plateau is looked for at each step": any(
            config.reduce_on_plateau and config.interval == "step" for config in trainer.lr_scheduler_configs
        ),
        f"{', '.join(hooks)} wants each step by itself": bool(hooks),
    }
    for reason, holds in reasons.items():
        if reason is not None and holds:
            raise CompilationError(reason)
    return module, datamodule, optimizer


def _takes_blocks(callback: Callback) -> bool:
    return isinstance(callback, CONTENT_WITH_BLOCKS) or type(callback).__module__.startswith("mlplab.")
