"""The network in Lightning: loss, metrics, optimizer, schedule, predictions."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torch.nn import functional as F

from mlplab.config.schema import schedule_interval
from mlplab.data.datamodule import Batch, Block, ImageDataModule
from mlplab.data.download import DIGIT_NAMES
from mlplab.errors import ConfigError, DivergedError
from mlplab.model.fused_optimizers import Fused
from mlplab.model.metrics import Totals
from mlplab.model.mlp import MLP, GaussianNoise
from mlplab.model.optimizers import make_optimizer, plain_values, require_class
from mlplab.model.regularization.batch_norm import batch_norms, renew
from mlplab.model.regularization.weight_averaging import DEFAULTS, Ema, make_average
from mlplab.model.training_step import Method, Steps

# In floating-point operations, or the time that they take. A block takes 0.1 to 0.3 s: what Lightning does for each is
# little, and a signal is acted on soon. A step has a cost of its own, and so has an image that is distorted.
BLOCK, STEP, DISTORTION = 2e10, 1e7, 5e6
POINTS_BY_EPOCH = 4  # at least, of a curve within epochs


class Classifier(LightningModule):
    """An MLP trained with cross-entropy. Every argument is a plain value, so a checkpoint holds nothing else.

    `Steps` trains it: on a block of batches of an `ImageDataModule` at a time, or on each batch of another loader.
    Lightning, and callbacks, see blocks; `steps` counts steps.

    Args:
        hidden, dropout, activation, batch_norm, input_dropout, input_noise, hidden_noise: see `MLP`.
        image_shape: (C, H, W); by default that of the `ImageDataModule` that is first trained or scored with, and of
            MNIST until then.
        classes: K names; by default those of that data module, and of MNIST until then.
        optimizer: name of a class of torch.optim, and its arguments.
        scheduler: name of a class of torch.optim.lr_scheduler, `interval` "step" or "epoch", `warmup` in steps, and
            its arguments; none, or no name, for a constant rate.
        monitor: the metric that a schedule which needs one looks at.
        seed: of dropout, noise and mixup; the weights are drawn from torch's global generator.
        max_norm: largest norm of the weights into a hidden unit, see `regularization.max_norm`; None for no bound.
        label_smoothing: share of the target, from 0 to below 1, that is spread over all classes, in the loss of
            training alone (Szegedy et al. 2016): `train/loss` is that loss, `val/loss` and `test/loss` are plain
            cross-entropy.
        mixup: alpha of the Beta distribution, above 0, see `regularization.mixup`; None for no mixing. `train/loss` is
            that of mixed images, and `train/acc` counts answers with the label of the larger share.
        averaging: `name` "ema" and `decay`, or "swa" and `start`, see `regularization.weight_averaging`; none, or no
            name, for no average. Evaluation (validation, test, predictions) uses the average.
        gradient_clip_val, gradient_clip_algorithm: largest norm ("norm") of the gradient, or largest value in it
            ("value"); None for no bound.
        max_steps: after which training ends, by itself or with the epochs; -1 for those of the Trainer.

    Raises:
        ValueError: if torch has no such activation, optimizer or schedule; see also `MLP`; or if images or labels
            are not of `image_shape` and `classes`.
        ConfigError: in training, if torch refuses the arguments of the optimizer or the schedule.
        DivergedError: if a loss is not finite, at the end of its block.
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
        shaped = {"image_shape": image_shape, "classes": classes}
        self._from_data = {name for name, value in shaped.items() if value is None}
        image_shape = (1, 28, 28) if image_shape is None else image_shape
        classes = DIGIT_NAMES if classes is None else classes
        self.save_hyperparameters(logger=False)
        for name, plain in (("optimizer", optimizer), ("scheduler", scheduler), ("averaging", averaging)):
            if not isinstance(plain, Mapping | None):
                raise ValueError(f"`{name}` must be a mapping, such as {{'name': ...}}, got {plain!r}")
        if not isinstance(image_shape, Sequence) or not all(isinstance(n, int) and n > 0 for n in image_shape):
            raise ValueError(f"`image_shape` must be (C, H, W), each at least 1, got {image_shape!r}")
        if not isinstance(classes, Sequence) or not classes:
            raise ValueError(f"`classes` must be names, at least one, got {classes!r}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be from 0 to below 1, got {label_smoothing}")
        for name, value in (("max_norm", max_norm), ("mixup", mixup)):
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be above 0, or None, got {value}")
        self.averaging = {**DEFAULTS, **(averaging or {})}
        self._make_network()
        self.optimizer = dict(optimizer)
        self.scheduler = dict(scheduler or {})
        for name, choice, allowed in (
            ("gradient_clip_algorithm", gradient_clip_algorithm, (None, "norm", "value")),
            ("interval` of `scheduler", self.scheduler.get("interval"), (None, "step", "epoch")),
            ("monitor", monitor, ("val/loss", "val/acc", "train/loss", "train/acc")),
        ):
            if choice not in allowed:
                raise ValueError(f"`{name}` must be one of {', '.join(map(str, allowed))}, got {choice!r}")
        require_class("optimizer", self.optimizer.get("name"), optim, optim.Optimizer)
        if self.scheduler.get("name"):
            require_class("scheduler", self.scheduler["name"], optim.lr_scheduler, optim.lr_scheduler.LRScheduler)
        self.monitor = monitor
        self.seed = seed
        self.totals = {stage: Totals() for stage in ("train", "val", "test")}
        self.history: list[dict[str, float]] = []  # figures of each epoch, by metric name
        self.loaded_figures: dict[str, float] = {}  # of the weights that a checkpoint brought
        self.rate = math.nan  # of the last step
        self.steps = 0  # taken so far
        self.images_seen = 0  # in training
        self.statistics_are_new = False
        self.figures: dict[str, float] = {}  # of what was scored since the epoch began
        self.begins_with: dict[str, dict[str, Any]] = {}  # see `plain_values`, once a training has begun
        self._schedule: optim.lr_scheduler.LRScheduler | None = None
        self._training: Steps | None = None
        self._epoch_started = 0.0

    def _make_network(self) -> None:
        names = ("hidden", "dropout", "activation", "image_shape", "classes")
        hidden, dropout, activation, image_shape, classes = (self.hparams[name] for name in names)
        aids = (self.hparams[name] for name in ("batch_norm", "input_dropout", "input_noise", "hidden_noise"))
        self.mlp = MLP(hidden, dropout, activation, image_shape, len(classes), *aids)
        self.average = make_average(self.mlp, self.averaging)
        drawing = nn.Dropout | nn.RReLU | GaussianNoise
        self.draws = any(isinstance(module, drawing) for module in self.mlp)  # random numbers, that is
        self.example_input_array = torch.zeros(1, *image_shape)  # to export the network with

    def setup(self, stage: str) -> None:
        """Take shape and classes from the data module where they were not given."""
        if self._datamodule is None:
            return
        info, values = self._datamodule.info, self.hparams
        found = {"image_shape": info.image_shape, "classes": info.classes}
        sizes: dict[str, Callable[[Any], int]] = {"image_shape": math.prod, "classes": len}
        before = [size(values[name]) for name, size in sizes.items()]
        values.update({name: found[name] for name in self._from_data})
        self._from_data = set()
        if before != [size(values[name]) for name, size in sizes.items()]:
            self._make_network()
        for name, size in sizes.items():
            if size(values[name]) != size(found[name]):
                raise ValueError(
                    f"`{name}` must be {found[name]} for the images of {self._datamodule.name}, got {values[name]}:"
                    f" Classifier(..., {name}={found[name]})"
                )

    def load_state_dict(self, *arguments: Any, **named: Any) -> Any:
        """Load weights, whose network is kept from then on."""
        self._from_data = set()
        return super().load_state_dict(*arguments, **named)

    def to_torchscript(
        self, file_path: str | Path | None = None, method: str | None = "trace", *arguments: Any, **named: Any
    ) -> Any:
        """Export the network as Lightning does, but by tracing alone.

        Raises:
            ValueError: for another `method`.
        """
        if method != "trace":
            raise ValueError(f"`method` must be 'trace', got {method!r}: torch cannot script what a Trainer needs")
        return super().to_torchscript(file_path, method, *arguments, **named)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> logits (B, K)."""
        self._require_shape(images)
        network = self.mlp if self.training or self.average is None else self.average
        logits: Tensor = network(images.to(self.dtype))
        return logits

    @property
    def evaluated(self) -> nn.Sequential:
        """What validates, tests and predicts: the network, or one with the average of its weights."""
        network = self.mlp if self.average is None else self.average.module
        assert isinstance(network, nn.Sequential)
        return network

    @property
    def max_steps(self) -> int:
        """After which training ends; -1 for no such bound. A Trainer that has one would go on within an epoch."""
        own = int(self.hparams["max_steps"])
        return own if own >= 0 else self.trainer.max_steps

    @property
    def steps_per_epoch(self) -> int:
        datamodule = self._datamodule
        if datamodule is None or datamodule.batches_per_block == 1:
            return int(self.trainer.num_training_batches)
        return datamodule.batches_per_epoch

    def batches_per_block(self, batch_size: int) -> int:
        """How many batches are trained on between two calls of Lightning's hooks."""
        weights = sum(weight.numel() for weight in self.mlp.parameters())
        datamodule = self._datamodule
        image = 6 * weights + (0 if datamodule is None or datamodule.distortion.is_identity else DISTORTION)
        return max(1, int(BLOCK / (image * batch_size + STEP)))

    def on_train_start(self) -> None:
        if self.trainer.world_size > 1:
            raise ConfigError("One run trains on one device: Trainer(devices=1).")
        self.figures = {}  # of a validation before training
        if self.trainer.ckpt_path is None and self.trainer.current_epoch == 0:  # and not the first training
            self.steps, self.images_seen, self.history = 0, 0, []
        if 0 <= self.max_steps <= self.steps:
            self.trainer.should_stop = True  # the checkpoint is of a run that had them
        is_mixed = self.trainer.precision == "bf16-mixed"
        values = self.hparams
        by_value = values["gradient_clip_algorithm"] == "value"
        clip = values["gradient_clip_val"] or None
        method = Method(
            seed=self.seed,
            label_smoothing=values["label_smoothing"],
            mixup=values["mixup"],
            max_norm=values["max_norm"],
            clip_norm=None if by_value else clip,
            clip_value=clip if by_value else None,
            dtype=torch.bfloat16 if is_mixed else next(self.mlp.parameters()).dtype,
        )
        emas = []
        if self.average is not None and self.averaging["name"] == "ema":
            emas.append(Ema(self.average, self.mlp, self.averaging["decay"]))
        batch_size = self._datamodule.batch_size if self._datamodule else 1
        features = math.prod(values["image_shape"])
        self._training = Steps(self.mlp, len(values["classes"]), method, features, batch_size, emas)
        (optimizer,) = self.trainer.optimizers
        if isinstance(optimizer, Fused):
            optimizer.bind()
        for weight in self._training.weights if isinstance(optimizer, optim.LBFGS) else ():
            assert weight.grad is not None
            weight.grad = weight.grad.contiguous()  # it takes a view of them

    def on_train_epoch_start(self) -> None:
        self._epoch_started = time.perf_counter()

    def training_step(self, batch: Block | Batch, batch_idx: int) -> dict[str, Any]:
        """Train on a block of batches, or on one batch.

        Returns:
            `points`, by step: sums of loss, correct answers and images since the epoch began, and the rate.
        """
        assert self._training is not None
        if isinstance(batch, Block):
            if self.max_steps >= 0:
                batch = Block(batch.first, min(batch.length, self.max_steps - self.steps))
            assert self._datamodule is not None
            steps = self._training
            chunks = self._datamodule.chunks(batch, self.current_epoch, lambda size: steps.gradients(size).images)
            update, rates = self._updates(batch.length)
        else:
            self._require_shape(batch[0])
            self._require_classes(*batch)
            chunks = iter([(batch_idx, [batch[0]], batch[1].unsqueeze(0))])
            update, rates = self._updates(1)
        outcomes, sizes = [], []
        self.statistics_are_new = False
        with torch.autocast(self.device.type, enabled=False), warnings.catch_warnings():
            # It looks for a call of `step`; the optimizer counts on in `update`.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            for first, images, labels in chunks:
                outcomes.append(self._training(images, labels, self.current_epoch, first, update))
                sizes += [labels.shape[1]] * len(labels)
        losses, correct = (torch.cat(parts).tolist() for parts in zip(*outcomes, strict=True))
        points = self._add_up(losses, correct, sizes, rates)
        if 0 <= self.max_steps <= self.steps:
            self.trainer.should_stop = True
            self.trainer.check_val_every_n_epoch = 1  # the last weights are validated, in whichever epoch this is
        return {"points": points}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.averaging["name"] == "swa":
            self._average_epochs(self.trainer.is_last_batch)

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients, which Lightning would set to None: a step writes into the tensors that they are."""

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.renew_statistics()

    def on_train_end(self) -> None:
        self.renew_statistics()  # of a run that a callback stopped after `on_train_epoch_end`

    def renew_statistics(self) -> None:
        """Take those of batch norm anew for the evaluated weights, unless that was done since the last step.

        Called before a validation and at the end of training; without an `ImageDataModule` the running ones are kept.
        """
        datamodule = self._datamodule
        if self.statistics_are_new or datamodule is None or not self._needs_statistics:
            return
        with self.trainer.precision_plugin.forward_context():
            renew(self.evaluated, (images.to(self.dtype) for images, _ in datamodule.batches("train")))
        self.statistics_are_new = True

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits (B, K), for callbacks."""
        return self._score("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits (B, K), for callbacks."""
        return self._score("test", batch)

    def predict_step(self, batch: Batch | Tensor, batch_idx: int = 0) -> Tensor:
        """Probabilities (B, K) that sum to one."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        probabilities: Tensor = self(images).softmax(dim=1)
        return probabilities

    def on_train_epoch_end(self) -> None:
        if self.trainer.should_stop or self.current_epoch + 1 == self.trainer.max_epochs:
            self.renew_statistics()  # callbacks save the last weights before they come to `on_train_end`
        seconds = time.perf_counter() - self._epoch_started
        self._move_schedule("epoch")
        self._log("train")
        self.log("lr", self.rate)
        row = {"epoch": self.current_epoch + 1, "step": self.steps, "lr": self.rate, "seconds": round(seconds, 3)}
        self.history.append(row | self.figures)
        self.figures = {}

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["global_step"] = self.steps  # Lightning counts blocks
        checkpoint["images_seen"] = self.images_seen
        checkpoint["history"] = self.history
        if self.figures:  # of the epoch that is under way
            checkpoint["figures"] = {"epoch": self.current_epoch + 1, "step": self.steps, **self.figures}
        else:
            checkpoint["figures"] = dict(self.history[-1]) if self.history else {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loaded_figures = checkpoint["figures"]
        try:
            goes_on = self.trainer.state.fn == "fit"
        except RuntimeError:  # there is no Trainer: `load_from_checkpoint`
            goes_on = True
        if goes_on:
            self.history = checkpoint["history"]
            self.steps, self.images_seen = checkpoint["global_step"], checkpoint["images_seen"]

    def diverged(self, figure: str, value: float) -> DivergedError:
        """The error for a figure that is not finite."""
        return DivergedError(
            f"{figure} is {value}: training diverged with optimizer.lr={self.rate:g}.\n"
            "Try a tenth of it, trainer.gradient_clip_val=1, or, with 16 bits, trainer.precision=bf16-mixed."
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        self.trainer.fit_loop.setup_data()  # after which it is known how many batches an epoch has
        epochs, steps = self.trainer.max_epochs or 1, self.max_steps
        if epochs < 0:  # until `max_steps`, or for ever
            epochs = max(1, math.ceil(steps / self.steps_per_epoch))
        if schedule_interval(self.scheduler) == "epoch":
            length = epochs
        else:
            length = self.steps_per_epoch * epochs if steps < 0 else min(self.steps_per_epoch * epochs, steps)
        optimizer, self._schedule = make_optimizer(self.mlp.parameters(), self.optimizer, self.scheduler, length)
        self.begins_with = plain_values(optimizer, self._schedule)
        return optimizer if self._schedule is None else ([optimizer], [self._schedule])

    @property
    def _datamodule(self) -> ImageDataModule | None:
        datamodule = getattr(self.trainer, "datamodule", None)
        return datamodule if isinstance(datamodule, ImageDataModule) else None

    def _updates(self, count: int) -> tuple[Callable[[], None], list[float]]:
        """What takes the steps of a block, the last one through Lightning, which counts it; and their rates."""
        assert self._training is not None
        (optimizer,) = self.trainer.optimizers
        options: Any = {"closure": self._training.again} if isinstance(optimizer, optim.LBFGS) else {}
        usual: Callable[[], Any] = partial(optimizer.step, **options)
        if isinstance(optimizer, Fused):
            usual = optimizer.update
        last = partial(self.optimizers().step, **options)  # type: ignore[union-attr]  # there is one
        steps: Iterator[Callable[[], Any]] = iter([*[usual] * (count - 1), last])
        has_schedule = self._schedule is not None and schedule_interval(self.scheduler) == "step"
        group, rates = optimizer.param_groups[0], list[float]()

        def update() -> None:
            rates.append(group["lr"])
            next(steps)()
            if has_schedule:
                self._move_schedule("step")

        return update, rates

    def _move_schedule(self, interval: str) -> None:
        if self._schedule is None or schedule_interval(self.scheduler) != interval:
            return
        try:
            if isinstance(self._schedule, optim.lr_scheduler.ReduceLROnPlateau):
                if self.monitor in self.figures:  # there may be no validation in an epoch
                    self._schedule.step(self.figures[self.monitor])
            else:
                self._schedule.step()
        except (ValueError, TypeError, ArithmeticError) as error:  # a schedule that is shorter than the run
            raise ConfigError(f"scheduler: {error}") from error

    def _add_up(
        self, losses: Sequence[float], correct: Sequence[int], sizes: Sequence[int], rates: Sequence[float]
    ) -> dict[int, tuple[tuple[float, int, int], float]]:
        """Count the steps of a block; see `training_step`."""
        points, totals, step = {}, self.totals["train"], self.steps
        often = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        every = min(often, max(1, self.steps_per_epoch // POINTS_BY_EPOCH))
        for loss, right, images, rate in zip(losses, correct, sizes, rates, strict=True):
            step += 1
            if not math.isfinite(loss):
                self.rate = rate
                raise self.diverged(f"train/loss of step {step:,}", loss)
            totals.add(loss * images, right, images)
            if every and step % every == 0:
                points[step] = totals.sums, rate
        self.steps, self.rate = step, rates[-1] if rates else self.rate
        self.images_seen += sum(sizes)
        return points

    def _score(self, stage: str, batch: Batch) -> Tensor:
        """Logits (B, K)."""
        images, labels = batch
        logits: Tensor = self(images)
        self._require_classes(images, labels)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        self.totals[stage].add(float(loss), int((logits.argmax(dim=1) == labels).sum()), len(labels))
        return logits

    def _require_shape(self, images: Tensor) -> None:
        shape = self.hparams["image_shape"]
        if images.shape[1:].numel() != math.prod(shape):
            raise ValueError(f"`image_shape` must be that of the images, {tuple(images.shape[1:])}, got {shape}")

    def _require_classes(self, images: Tensor, labels: Tensor) -> None:
        last = len(self.hparams["classes"]) - 1
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64 (B,), got {labels.dtype} {tuple(labels.shape)}")
        if labels.min() < 0 or labels.max() > last:
            raise ValueError(f"labels must be from 0 to {last}, one for each of `classes`, got {labels.tolist()[:10]}")

    @property
    def _needs_statistics(self) -> bool:
        """Are those that batch norm kept in training of other weights, or of images that were mixed or had noise?"""
        is_mean = self.averaging["name"] == "swa" and bool(self.average.n_averaged)  # type: ignore[union-attr]
        return bool(batch_norms(self.evaluated)) and (is_mean or self.draws or self.hparams["mixup"] is not None)

    def _average_epochs(self, is_over: bool) -> None:
        """After a batch, or a block of them. Until there is an epoch to average, the average is the weights."""
        assert self.average is not None
        share = (self.current_epoch + 1) / (self.trainer.max_epochs or 1)  # below 0 for a run without an end
        counts = is_over and share > self.averaging["start"]
        if self.average.n_averaged and not counts:
            return
        self.average.update_parameters(self.mlp)
        if not counts:
            self.average.n_averaged.zero_()  # the next one replaces it

    def _log(self, stage: str) -> None:
        loss, acc = self.totals[stage].means()
        self.totals[stage].reset()
        figures = {f"{stage}/loss": loss, f"{stage}/acc": acc}
        self.figures.update(figures)
        if not math.isfinite(loss):
            raise self.diverged(f"{stage}/loss after step {self.steps:,}", loss)
        last = self.steps - (stage != "test")  # the test comes after it: a run that goes on takes it again
        self.log_dict({**figures, "step": float(last)})  # where curves put them: Lightning counts blocks
