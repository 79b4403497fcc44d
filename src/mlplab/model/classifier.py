"""Lightning module: a training step on a block of batches, loss and metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from mlplab.config.datasets import DIGITS
from mlplab.data.blocks import Batch, Block, Chunk
from mlplab.model import optimizers, shapes
from mlplab.model.metrics import MeasuredModule
from mlplab.model.predictor import Predictor
from mlplab.model.regularization.batch_norm import draws, renew
from mlplab.model.training_step import Method, Steps, block_length


class Classifier(Predictor, MeasuredModule):
    """An MLP trained with cross-entropy; every argument is a plain value, so that a checkpoint holds nothing else.

    With `ImageDataModule` it trains on a block of batches at a time, which callbacks see as one batch; with any other
    loader, on each batch.

    Args:
        hidden, dropout, activation, batch_norm, input_dropout, input_noise, hidden_noise: see `MLP`.
        image_shape, classes: (C, H, W) and K names; by default those of the first data module, MNIST's until then.
        optimizer, scheduler: classes of torch by `name`, and their arguments, see `make_optimizer`.
        monitor: metric used by schedules such as ReduceLROnPlateau.
        seed, max_norm, label_smoothing, mixup, gradient_clip_val, gradient_clip_algorithm: see `Method`.
        averaging: see `make_average`; evaluation uses the average.
        max_steps: number of steps after which training ends, even within the last epoch; -1 for the Trainer's.

    Raises:
        ValueError: for an invalid argument, or images or labels that do not match `image_shape` and `classes`.
        ConfigError: in training, if torch refuses arguments of the optimizer or the schedule.
        DivergedError: at the end of a block, if a loss in it is not finite.
    """

    automatic_optimization = False

    def __init__(
        self,
        hidden: int | Sequence[int] = 128,
        dropout: float | Sequence[float] = 0.0,
        activation: str = "ReLU",
        image_shape: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        optimizer: Mapping[str, Any] = {"name": "Adam", "lr": 1e-3},
        scheduler: Mapping[str, Any] | None = None,
        monitor: str = "val/loss",
        seed: int = 0,
        batch_norm: bool = False,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        hidden_noise: float = 0.0,
        max_norm: float | None = None,
        label_smoothing: float = 0.0,
        mixup: float | None = None,
        averaging: Mapping[str, Any] | None = None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
        max_steps: int = -1,
    ) -> None:
        super().__init__()
        self.from_data = {name for name, x in (("image_shape", image_shape), ("classes", classes)) if x is None}
        image_shape = (1, 28, 28) if image_shape is None else image_shape
        classes = DIGITS if classes is None else classes
        self.save_hyperparameters(logger=False)
        self.method = Method(seed, label_smoothing, mixup, max_norm, gradient_clip_val, gradient_clip_algorithm)
        self.optimizer = optimizers.require_optimizer(optimizer)
        self.scheduler = optimizers.require_scheduler(scheduler)
        if monitor not in ("val/loss", "val/acc", "train/loss", "train/acc"):
            raise ValueError(f"`monitor` must be a metric of train or val, such as val/loss, got {monitor!r}")
        if not isinstance(classes, Sequence) or not classes:
            raise ValueError(f"`classes` must be names, at least one, got {classes!r}")
        self._make_network()
        self.register_load_state_dict_post_hook(shapes.keep)  # type: ignore[no-untyped-call]

    def _make_network(self) -> None:
        self.make_network(self.hparams)
        self.example_input_array = torch.zeros(1, *self.image_shape)  # to export the network with

    def setup(self, stage: str) -> None:
        """Take image_shape and classes from the data module, unless they were given."""
        if self.datamodule is not None:
            before = shapes.sizes(self.hparams)
            self.hparams.update(shapes.agreed(self.hparams, self.from_data, self.datamodule))
            self.from_data.clear()
            if shapes.sizes(self.hparams) != before:
                self._make_network()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        self.trainer.fit_loop.setup_data()  # now the number of batches per epoch is known
        weights, chosen, epochs = self.mlp.parameters(), self.scheduler, self.trainer.max_epochs or 1
        length = optimizers.schedule_length(chosen, epochs, self.steps_per_epoch, self.max_steps)
        made = optimizers.make_optimizer(weights, self.optimizer, chosen, length)
        optimizer, self._schedule, self.optimizer_settings = made
        return optimizer if self._schedule is None else ([optimizer], [self._schedule])

    def batches_per_block(self, batch_size: int) -> int:
        distorts = self.datamodule is not None and not self.datamodule.distortion.is_identity
        return block_length(self.mlp, batch_size, distorts)

    def on_train_start(self) -> None:
        super().on_train_start()
        self._is_prepared = False
        after_step = [] if self.average is None else [self.average.follow(self.mlp)]
        method = replace(self.method, dtype=torch.bfloat16 if self.trainer.precision == "bf16-mixed" else None)
        batch_size = self.datamodule.batch_size if self.datamodule else 1
        features, num_classes = shapes.sizes(self.hparams)
        self._steps = Steps(self.mlp, num_classes, method, features, batch_size, after_step)
        chosen = self.scheduler, self.hparams["monitor"]
        self._updates = optimizers.Updates(self.trainer.optimizers[0], self._schedule, *chosen, self._steps.again)

    def training_step(self, batch: Block | Batch, batch_idx: int) -> dict[str, Any]:
        """Train on a block of batches, or on one batch; return the points of its curves, see `add_steps`."""
        chunks: Iterable[Chunk]
        if isinstance(batch, Block):
            assert self.datamodule is not None
            if self.max_steps >= 0:
                batch = Block(batch.first, min(batch.length, self.max_steps - self.steps))
            count, chunks = batch.length, self.datamodule.chunks(batch, self.current_epoch, self._steps.images)
        else:
            shapes.require_shape(batch[0], self.hparams["image_shape"])
            shapes.require_labels(*batch, len(self.hparams["classes"]))
            count, chunks = 1, [(batch_idx, [batch[0]], batch[1].unsqueeze(0))]
        self._is_prepared = False
        update, lrs = self._updates.of_block(count, self.optimizers().step)  # type: ignore[union-attr]  # there is one
        return {"points": self.add_steps(*self._steps.train(chunks, self.current_epoch, update), lrs)}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.average is not None:  # progress is below 0 for a run without an end
            progress = (self.current_epoch + 1) / (self.trainer.max_epochs or 1)
            self.average.after_block(progress, self.trainer.is_last_batch)

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        self._updates.end_epoch(self.history[-1])

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients, which Lightning would set to None: a step writes into their tensors."""

    def prepare_evaluation(self) -> None:
        """Recompute the statistics of batch norm, once after training, if training used other images."""
        is_drawn = self.method.mixup is not None or draws(self.mlp) or getattr(self.average, "is_mean", False)
        if self.datamodule is not None and not self._is_prepared and is_drawn:
            with self.trainer.precision_plugin.forward_context():
                images = (images.to(self.dtype) for images, _ in self.datamodule.batches("train"))
                renew(self.eval_network, images)
            self._is_prepared = True
