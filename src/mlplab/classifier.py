"""The network in Lightning: loss, metrics, optimizer, schedule, predictions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torch.nn import functional as F

from mlplab.aids.averaging import DEFAULTS, make_average
from mlplab.aids.batch_statistics import batch_norms, renew
from mlplab.aids.max_norm import limit, limited_weights
from mlplab.aids.mixup import mixture as draw_mixture
from mlplab.datamodule import Batch, ImageDataModule
from mlplab.errors import ConfigError, DivergedError
from mlplab.mlp import MLP, GaussianNoise
from mlplab.optimizers import make_optimizer, require_class, schedule_interval
from mlplab.randomness import Purpose, derive_many, seed_generator
from mlplab.totals import Totals


class Classifier(LightningModule):
    """An MLP trained with cross-entropy. Every argument is a plain value, so a checkpoint holds nothing else.

    Args:
        hidden, dropout, activation, image_shape, batch_norm, input_dropout, input_noise, hidden_noise: see `MLP`.
        classes: K names.
        optimizer: name of a class of torch.optim, and its arguments.
        scheduler: name of a class of torch.optim.lr_scheduler, `interval` "step" or "epoch", `warmup` in steps, and
            its arguments; none, or no name, for a constant rate.
        monitor: the metric that a schedule which needs one looks at.
        seed: of dropout, noise and mixup; the weights are drawn from torch's global generator.
        max_norm: largest norm of the weights into a hidden unit, see `mlplab.aids.max_norm`; None for no bound.
        label_smoothing: share of the target, from 0 to below 1, that is spread over all classes, in the loss of
            training alone (Szegedy et al. 2016): `train/loss` is that loss, `val/loss` and `test/loss` are plain
            cross-entropy.
        mixup: alpha of the Beta distribution, above 0, see `mlplab.aids.mixup`; None for no mixing. `train/loss` is
            that of mixed images, and `train/acc` counts answers with the label of the larger share.
        averaging: `name` "ema" and `decay`, or "swa" and `start`, see `mlplab.aids.averaging`; none, or no name,
            for no average. Evaluation (validation, test, predictions) uses the average.

    Raises:
        ValueError: if torch has no such activation, optimizer or schedule; see also `MLP`.
        ConfigError: in training, if torch refuses the arguments of the optimizer or the schedule.
        DivergedError: if a loss is not finite; on a GPU up to 100 steps later, when the host waits for it anyway.
    """

    def __init__(
        self,
        hidden: int | Sequence[int] = 128,
        dropout: float | Sequence[float] = 0.0,
        activation: str = "ReLU",
        image_shape: Sequence[int] = (1, 28, 28),
        classes: Sequence[str] = tuple("0123456789"),
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
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be from 0 to below 1, got {label_smoothing}")
        for name, value in (("max_norm", max_norm), ("mixup", mixup)):
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be above 0, or None, got {value}")
        aids = (batch_norm, input_dropout, input_noise, hidden_noise)
        self.mlp = MLP(hidden, dropout, activation, image_shape, len(classes), *aids)
        self.max_norm, self.label_smoothing, self.mixup = max_norm, label_smoothing, mixup
        self.averaging = {**DEFAULTS, **(averaging or {})}
        self.average = make_average(self.mlp, self.averaging)
        self.optimizer = dict(optimizer)
        self.scheduler = dict(scheduler or {})
        require_class("optimizer", self.optimizer.get("name"), optim, optim.Optimizer)
        if self.scheduler.get("name"):
            require_class("scheduler", self.scheduler["name"], optim.lr_scheduler, optim.lr_scheduler.LRScheduler)
        self.monitor = monitor
        self.seed = seed
        drawing = nn.Dropout | nn.RReLU | GaussianNoise
        self.draws = any(isinstance(module, drawing) for module in self.mlp)  # random numbers, that is
        self.totals = {stage: Totals() for stage in ("train", "val", "test")}
        self.history: list[dict[str, float]] = []  # figures of each epoch, by metric name
        self.loaded_figures: dict[str, float] = {}  # of the weights that a checkpoint brought
        self.rate = math.nan  # of the last step
        self.images_seen = 0  # in training
        self.statistics_are_new = False
        self.figures: dict[str, float] = {}  # of what was scored since the epoch began

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the hook it is in some 40 times a step, and nn.Module searches all it has at every assignment:
        # a twelfth of the step of a small network.
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> logits (B, K)."""
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
    def averages_steps(self) -> bool:
        """Does each step move the average of the weights?"""
        return bool(self.averaging["name"] == "ema")

    def on_train_start(self) -> None:
        self.figures = {}  # of a validation before training

    def on_train_epoch_start(self) -> None:
        loop = self.trainer.fit_loop
        if loop.is_resuming and loop._data_fetcher is not None and not loop._data_fetcher.fetched:
            iter(loop._data_fetcher)  # Lightning began to take batches before it knew which epoch goes on
        if self.draws:
            self.batch_seeds = self._seeds(Purpose.DROPOUT)
        if self.mixup is not None:
            self.mixup_seeds = self._seeds(Purpose.MIXUP)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # Random numbers are a function of epoch and batch, so that a run that is resumed draws what it would have
        # drawn; `batch_idx` begins at 0 again there.
        of_epoch = self.trainer.fit_loop.epoch_loop.batch_idx
        if self.draws:
            seed_generator(self.device, self.batch_seeds[of_epoch])
        self.rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        if self.mixup is None:
            loss, _ = self._score("train", batch, self.label_smoothing)
        else:
            loss = self._score_mixed(batch, self.mixup, self.mixup_seeds[of_epoch])
        # A loss that is not finite stays so; to look at it makes the host wait for a GPU.
        if (self.device.type == "cpu" or batch_idx % 100 == 99) and not math.isfinite(loss.item()):
            raise self.diverged(f"train/loss of step {self.global_step + 1:,}", loss.item())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        images = outputs.get("images", len(batch[1]))  # a block of compiled steps takes several batches
        self.images_seen += images * self.trainer.world_size
        is_over = self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.averaging["name"] == "swa":
            self._average_epochs(is_over)
        self.statistics_are_new = False

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.renew_statistics()

    def on_train_end(self) -> None:
        self.renew_statistics()  # of a run that a callback stopped after `on_train_epoch_end`

    def renew_statistics(self) -> None:
        """Take those of batch norm anew for the evaluated weights, unless that was done since the last step.

        Called before a validation and at the end of training; without an `ImageDataModule` the running ones are kept.
        """
        datamodule = getattr(self.trainer, "datamodule", None)
        if self.statistics_are_new or not isinstance(datamodule, ImageDataModule) or not self._needs_statistics:
            return
        with self.trainer.precision_plugin.forward_context():
            renew(self.evaluated, (images.to(self.dtype) for images, _ in datamodule.batches("train")))
        self.statistics_are_new = True

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits (B, K), for callbacks."""
        return self._score("val", batch)[1]

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits (B, K), for callbacks."""
        return self._score("test", batch)[1]

    def predict_step(self, batch: Batch | Tensor, batch_idx: int = 0) -> Tensor:
        """Probabilities (B, K) that sum to one."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        probabilities: Tensor = self(images).softmax(dim=1)
        return probabilities

    def on_train_epoch_end(self) -> None:
        has_all_steps = 0 <= self.trainer.max_steps <= self.global_step
        if has_all_steps or self.current_epoch + 1 == self.trainer.max_epochs or self.trainer.should_stop:
            self.renew_statistics()  # callbacks save the last weights before they come to `on_train_end`
        self._log("train")
        self.log("lr", self.rate, sync_dist=True)
        self.history.append({"epoch": self.current_epoch + 1, "step": self.global_step, "lr": self.rate})
        self.history[-1].update(self.figures)
        self.figures = {}

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        if self.figures:  # of the epoch that is under way
            checkpoint["figures"] = {"epoch": self.current_epoch + 1, "step": self.global_step, **self.figures}
        else:
            checkpoint["figures"] = dict(self.history[-1]) if self.history else {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        self.loaded_figures = checkpoint["figures"]

    def diverged(self, figure: str, value: float) -> DivergedError:
        """The error for a figure that is not finite."""
        return DivergedError(
            f"{figure} is {value}: training diverged with optimizer.lr={self.rate:g}.\n"
            "Try a tenth of it, trainer.gradient_clip_val=1, or, with 16 bits, trainer.precision=bf16-mixed."
        )

    def running(self) -> dict[str, Any]:
        """What is known of an epoch that is not over, as plain values; for all processes of a distributed run."""
        sums = self.trainer.strategy.reduce(self.totals["train"].sums().clone(), reduce_op="sum")
        return {"sums": sums.tolist(), "rate": self.rate, "figures": self.figures}

    def go_on(self, running: Mapping[str, Any]) -> None:
        """Take up an epoch where `running` noted it."""
        if self.trainer.is_global_zero:
            self.totals["train"].restore(running["sums"])
        self.rate, self.figures = running["rate"], dict(running["figures"])

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        try:
            super().lr_scheduler_step(scheduler, metric)
        except (ValueError, TypeError, ArithmeticError) as error:  # a schedule that is shorter than the run
            raise ConfigError(f"scheduler: {error}") from error

    def configure_optimizers(self) -> OptimizerLRScheduler:
        interval = schedule_interval(self.scheduler)
        steps, epochs = int(self.trainer.estimated_stepping_batches), self.trainer.max_epochs or 1
        length = steps if interval == "step" else epochs
        optimizer, schedule = make_optimizer(self.mlp.parameters(), self.optimizer, self.scheduler, length)
        if self.max_norm is not None or self.averages_steps:
            optimizer.register_step_post_hook(self._after_step)
        if schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": interval, "monitor": self.monitor},
        }

    def _score(self, stage: str, batch: Batch, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Loss () and logits (B, K)."""
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        self.totals[stage].add(loss, logits, labels)
        return loss, logits

    def _score_mixed(self, batch: Batch, alpha: float, seed: int) -> Tensor:
        images, labels = batch
        mixture = draw_mixture(len(labels), alpha, seed, labels.device)
        logits = self(mixture.images(images))
        loss = mixture.loss(logits, labels, self.label_smoothing)
        self.totals["train"].add(loss, logits, mixture.labels(labels))
        return loss

    def _seeds(self, purpose: Purpose) -> list[int]:
        """One for each batch of the epoch."""
        return derive_many(int(self.trainer.num_training_batches), self.seed, purpose, self.current_epoch)

    def _after_step(self, *_: object) -> None:
        if self.max_norm is not None:
            for weight, limited in zip(self.mlp.parameters(), limited_weights(self.mlp), strict=True):
                if limited:
                    limit(weight, self.max_norm)
        if self.average is not None and self.averages_steps:
            self.average.update_parameters(self.mlp)

    @property
    def _needs_statistics(self) -> bool:
        """Are those that batch norm kept in training of other weights, or of images that were mixed or had noise?"""
        is_mean = self.averaging["name"] == "swa" and bool(self.average.n_averaged)  # type: ignore[union-attr]
        return bool(batch_norms(self.evaluated)) and (is_mean or self.draws or self.mixup is not None)

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
        loss, acc = self.totals[stage].means(self.trainer.strategy.reduce)
        self.totals[stage].reset()
        figures = {f"{stage}/loss": loss, f"{stage}/acc": acc}
        self.figures.update(figures)
        if not math.isfinite(loss):
            raise self.diverged(f"{stage}/loss after step {self.global_step:,}", loss)
        self.log_dict(figures, sync_dist=True)
