"""The schema: every knob with its type, range, unit and meaning.

Imports neither torch nor lightning, so that a mistake costs half a second.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mlplab.config import datasets, torch_signatures
from mlplab.config.spelling import did_you_mean

# Arguments of a schedule that need not be given: the classifier fills them in from the run.
FROM_THE_RUN = {"CosineAnnealingLR": {"T_max"}, "OneCycleLR": {"total_steps", "max_lr"}}

# What no figure of a run depends on; a section stands for all that is in it. The hash, resume, the report and names of
# runs leave it out.
CHANGES_NOTHING = frozenset(
    {
        "show",
        "data.root",
        "trainer.devices",  # one, whichever it is
        "trainer.enable_progress_bar",
        "trainer.enable_model_summary",
        "trainer.logger",
        "trainer.log_every_n_steps",
        "trainer.max_time",  # after which a run is interrupted
        "trainer.num_sanity_val_steps",
    }
)


def _as_tuple(value: object) -> object:
    """512 -> (512,), [512, 512] -> (512, 512)."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Width = Annotated[int, Field(ge=1, le=2**20)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Length = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
# An int counts batches, a float is a share of them.
BatchLimit = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]
Precision = Literal[32, 64, "32", "64", "bf16-mixed", "16-true", "bf16-true", "32-true", "64-true", "bf16-if-fast"]
BFLOAT16_IF_FAST = "bf16-if-fast"


def _known(name: str, names: Iterable[str]) -> str:
    if name not in names:
        choices = {"names": ", ".join(sorted(names)), "close": did_you_mean(name, names)}
        raise PydanticCustomError("unknown", "must be one of {names}", choices)
    return name


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    name: datasets.Name = Field(description="the data set")
    root: str = Field(min_length=1, description="folder that holds, or will hold, the data sets")
    val_size: int = Field(ge=0, description="training images set aside for validation, or a share of them below 1")
    split_seed: int = Field(ge=0, lt=2**32, description="chooses the validation images, whatever the seed")
    batch_size: int = Field(ge=1, description="images per training step")
    normalize: Literal["standard", "unit", "symmetric"] = Field(
        description="pixels to mean 0 and variance 1, to 0..1, or to -1..1"
    )

    @field_validator("root")
    @classmethod
    def _is_a_folder(cls, root: str) -> str:
        if "://" in root:
            raise PydanticCustomError("address", "must be a folder of this machine")
        return root

    @field_validator("val_size", mode="before")
    @classmethod
    def _is_a_number(cls, val_size: object, info: ValidationInfo) -> object:
        """A share, 0.2, as the number of images that it is."""
        facts = datasets.DATASETS.get(info.data.get("name", ""))
        if facts is None or not isinstance(val_size, float) or not 0 <= val_size < 1:
            return val_size
        return max(1, round(val_size * facts.train_images)) if val_size else 0

    @field_validator("val_size")
    @classmethod
    def _leaves_training_images(cls, val_size: int, info: ValidationInfo) -> int:
        facts = datasets.DATASETS.get(info.data.get("name", ""))
        if facts is not None and val_size >= facts.train_images:
            most = {"most": facts.train_images - 1, "available": facts.train_images}
            raise PydanticCustomError("size", "must be at most {most}, {available} training images less one", most)
        return val_size


class Augment(Section):
    """How far the images to train on are distorted at most; see `mlplab.data.augmentation.Distortion`."""

    shift: int = Field(default=0, ge=0, description="pixels, in each direction")
    flip: float = Field(default=0.0, ge=0, le=1, description="probability of being mirrored left to right")
    rotation: float = Field(default=0.0, ge=0, le=180, description="degrees, either way")
    scale: Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple)] = Field(
        default=(1.0, 1.0), min_length=2, max_length=2, description="smallest and largest factor of the size"
    )
    shear: float = Field(default=0.0, ge=0, lt=90, description="degrees, either way")
    elastic_alpha: NotNegative = Field(default=0.0, description="strength of the elastic displacement in pixels")
    elastic_sigma: float = Field(default=4.0, ge=0.01, description="smoothness of the elastic displacement in pixels")

    @field_validator("scale")
    @classmethod
    def _is_in_order(cls, scale: tuple[float, ...]) -> tuple[float, ...]:
        if scale[0] > scale[1]:
            raise PydanticCustomError("order", "must be the smaller factor, then the larger one")
        return scale

    @property
    def distorts(self) -> bool:
        """Is anything distorted at all?"""
        return bool(
            self.shift or self.flip or self.rotation or self.scale != (1, 1) or self.shear or self.elastic_alpha
        )


class Model(Section):
    hidden: Annotated[tuple[Width, ...], BeforeValidator(_as_tuple)] = Field(
        description="width of each hidden layer: 512, [512,512], or [] for softmax regression"
    )
    dropout: Annotated[tuple[Rate, ...], BeforeValidator(_as_tuple)] = Field(
        description="share of units dropped, from 0 to below 1: one rate, or one per hidden layer"
    )
    activation: str = Field(description="an elementwise activation of torch.nn")
    batch_norm: bool = Field(default=False, description="normalise over the batch before each hidden activation")
    input_dropout: Rate = Field(default=0.0, description="share of pixels dropped, from 0 to below 1")
    input_noise: NotNegative = Field(
        default=0.0, description="standard deviation of the noise on pixels, as data.normalize leaves them"
    )
    hidden_noise: NotNegative = Field(
        default=0.0, description="standard deviation of the noise before each hidden activation, after batch norm"
    )

    @field_validator("dropout")
    @classmethod
    def _one_or_one_per_layer(cls, dropout: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        layers = len(info.data.get("hidden", dropout))
        if len(dropout) not in (1, layers):
            raise PydanticCustomError("rates", "must be one rate, or {layers} for {layers} layers", {"layers": layers})
        return dropout

    @field_validator("activation")
    @classmethod
    def _is_in_torch(cls, name: str) -> str:
        return _known(name, torch_signatures.activations())


class TorchClass(Section):
    """A class of torch and its arguments, of which some are named here; what is not given is torch's own default.

    An argument that the class does not take is None.
    """

    model_config = ConfigDict(extra="allow")

    classes: ClassVar[Callable[[], dict[str, torch_signatures.Arguments]]]
    name: str | None

    @model_validator(mode="after")
    def _has_the_defaults_of_its_class(self) -> Self:
        known = type(self).model_fields.keys() - self.model_fields_set
        self.__dict__.update({key: default for key, default in self.defaults.items() if key in known})
        return self

    @property
    def defaults(self) -> dict[str, Any]:
        return class_defaults(type(self).classes(), self.name)


def class_defaults(classes: Mapping[str, torch_signatures.Arguments], name: object) -> dict[str, Any]:
    """Default of each argument of the class `name` that need not be given, without what is filled in from the run."""
    arguments = classes.get(str(name), {})
    from_the_run = FROM_THE_RUN.get(str(name), ())
    return {key: known.default for key, known in arguments.items() if not known.required and key not in from_the_run}


def with_class_defaults(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    """A configuration with every argument of its optimizer and its schedule, but those filled in from the run."""
    filled = dict(tree)
    for section, classes in (
        ("optimizer", torch_signatures.optimizers()),
        ("scheduler", torch_signatures.schedulers()),
    ):
        given = filled.get(section)
        if isinstance(given, dict):
            defaults = class_defaults(classes, given.get("name"))
            plain = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
            filled[section] = given | {key: value for key, value in plain.items() if key not in given}
    return filled


class Optimizer(TorchClass):
    classes = torch_signatures.optimizers

    name: str = Field(description="a class of torch.optim")
    lr: float = Field(gt=0, description="learning rate")
    weight_decay: NotNegative | None = Field(default=None, description="L2 penalty, or decoupled decay in AdamW")
    momentum: NotNegative | None = Field(default=None, description="momentum")
    dampening: NotNegative | None = Field(default=None, description="dampening of the momentum")
    nesterov: bool | None = Field(default=None, description="Nesterov's momentum")
    betas: Annotated[tuple[Rate, ...], BeforeValidator(_as_tuple)] | None = Field(
        default=None, min_length=2, max_length=2, description="decay of the mean gradient and its square"
    )
    alpha: NotNegative | None = Field(default=None, description="decay of the mean of squared gradients")
    rho: Rate | None = Field(default=None, description="decay of the mean of squared gradients")
    eps: NotNegative | None = Field(default=None, description="added to the denominator")

    @field_validator("name")
    @classmethod
    def _is_in_torch(cls, name: str) -> str:
        return _known(name, torch_signatures.optimizers())


class Scheduler(TorchClass):
    classes = torch_signatures.schedulers

    name: str | None = Field(description="a class of torch.optim.lr_scheduler, or null for a constant rate")
    interval: Literal["step", "epoch"] | None = Field(
        description="what the schedule counts; null: what its class is made for"
    )
    warmup: int = Field(default=0, ge=0, description="first steps, in which the rate rises linearly from 0; 0: none")
    step_size: Length | None = Field(default=None, description="steps or epochs from one change to the next")
    T_max: Length | None = Field(default=None, description="steps or epochs to the lowest rate; null: the whole run")
    T_0: Length | None = Field(default=None, description="steps or epochs to the first restart")
    total_steps: Length | None = Field(default=None, description="steps or epochs of the cycle; null: the whole run")
    total_iters: Length | None = Field(default=None, description="steps or epochs until the rate is what it will be")
    gamma: NotNegative | None = Field(default=None, description="factor of the rate")

    @field_validator("name")
    @classmethod
    def _is_in_torch(cls, name: str | None) -> str | None:
        return None if name is None else _known(name, torch_signatures.schedulers())


def schedule_interval(scheduler: Mapping[str, Any]) -> str:
    """What is chosen, "step" or "epoch", or what the class is made for; a warm-up alone is in steps."""
    name = scheduler.get("name")
    by_class = "step" if name in ("OneCycleLR", "CyclicLR") or (not name and scheduler.get("warmup")) else "epoch"
    return str(scheduler.get("interval") or by_class)


class Trainer(Section):
    """Beside what is named here, every flag of lightning.Trainer that a plain value can give."""

    model_config = ConfigDict(extra="allow")

    max_epochs: int = Field(ge=1, description="passes over the training images")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = Field(description="what trains")
    devices: int | str | Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = Field(
        description="how many devices, or which"
    )
    enable_progress_bar: bool | None = Field(description="null: where the output is a terminal")
    precision: Precision = Field(
        default="32-true",
        description="of the arithmetic; bf16-if-fast: bf16-mixed where the processor has bfloat16, else 32-true",
    )
    max_steps: Literal[-1] | Annotated[int, Field(ge=1)] = Field(
        default=-1, description="training steps; -1: as many as the epochs have"
    )
    check_val_every_n_epoch: int = Field(default=1, ge=1, description="epochs from one validation to the next")
    limit_train_batches: BatchLimit = Field(default=1.0, description="batches of an epoch, or a share of them")
    limit_val_batches: BatchLimit | Literal[0] = Field(
        default=1.0, description="batches of a validation, or a share of them"
    )
    limit_test_batches: BatchLimit = Field(default=1.0, description="batches of the test, or a share of them")
    val_check_interval: BatchLimit = Field(
        default=1.0, description="batches, or share of an epoch, between validations"
    )
    gradient_clip_val: NotNegative | None = Field(default=None, description="largest norm, or value, of the gradient")
    gradient_clip_algorithm: Literal["norm", "value"] | None = Field(
        default=None, description="what of the gradient is bounded; null: norm"
    )
    min_epochs: int | None = Field(default=None, ge=1, description="epochs before early stopping may stop")
    deterministic: bool | Literal["warn"] | None = Field(default=None, description="only deterministic algorithms")
    logger: bool = Field(default=True, description="write curves for TensorBoard")
    enable_checkpointing: bool = Field(default=True, description="write best.ckpt and last.ckpt")
    log_every_n_steps: int = Field(default=50, ge=1, description="steps from one logged value to the next")

    @property
    def flags(self) -> dict[str, Any]:
        """What was given; what was not is Lightning's default."""
        return self.model_dump(exclude_unset=True)


class Aids(Section):
    """What training does beside following the gradient of the plain loss."""

    max_norm: Positive | None = Field(
        default=None, description="largest norm of the weights into a hidden unit; null: no bound"
    )
    label_smoothing: Rate = Field(
        default=0.0, description="share of the target spread over all classes, in train/loss alone"
    )
    mixup: Positive | None = Field(
        default=None, description="alpha of the Beta distribution of shares, by which images are mixed; null: not mixed"
    )


class Averaging(Section):
    name: Literal["ema", "swa"] | None = Field(
        default=None, description="average of the weights that validates, tests and predicts; null: none"
    )
    decay: Rate = Field(default=0.999, description="of ema: what each step leaves of the average")
    start: Rate = Field(default=0.75, description="of swa: share of the epochs after which weights count")


class EarlyStopping(Section):
    patience: int | None = Field(ge=0, description="epochs without improvement before training stops; null: never")
    min_delta: NotNegative = Field(description="smallest change that counts as an improvement")


class Show(Section):
    """What can be looked at beside figures by epoch; nothing of it changes a figure."""

    scalars: bool = Field(description="curves within and by epoch, gap of training to validation, speed, and a layout")
    images: bool = Field(description="training images as they are and as the network sees them")
    confusion: bool = Field(description="confusion matrices of the validation by epoch, and of the test")
    mistakes: bool = Field(description="the most confident mistakes in the test")
    weights: bool = Field(description="weights of the first layer as images")
    graph: bool = Field(description="graph of the network")
    text: bool = Field(description="configuration, command line and table of layers")
    pr_curves: bool = Field(description="precision and recall of each class in the test")
    histograms: bool = Field(description="weights and gradients by epoch")
    projector: bool = Field(description="last hidden layer for test images, with their pictures")
    files: bool = Field(description="curves.png, confusion.png and mistakes.png in the folder of the run")


# What aids training, by key, and the value at which it is off: as in runs of versions that did not know it.
AIDS: dict[str, Any] = {
    f"{section}.{name}": field.default
    for section, part in (("model", Model), ("aids", Aids), ("averaging", Averaging))
    for name, field in part.model_fields.items()
    if not field.is_required()
} | {"scheduler.warmup": 0}


class Config(Section):
    """One run."""

    seed: int = Field(ge=0, lt=2**32, description="of the weights, the order of the images, distortions and dropout")
    monitor: Literal["val/loss", "val/acc"] = Field(description="what the best weights are best at")
    evaluate_untrained: bool = Field(description="score the validation images before training")
    early_stopping: EarlyStopping
    show: Show
    data: Data
    augment: Augment = Augment()
    model: Model
    optimizer: Optimizer
    scheduler: Scheduler
    trainer: Trainer
    aids: Aids = Aids()
    averaging: Averaging = Averaging()
    trick: str | None = Field(default=None, description="name of what is special about the run, for the report alone")

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which way the monitored figure is better."""
        return "min" if self.monitor == "val/loss" else "max"

    @property
    def validates(self) -> bool:
        return self.data.val_size > 0 and self.trainer.limit_val_batches > 0

    @model_validator(mode="after")
    def _has_what_it_monitors(self) -> Self:
        wants = {
            "early_stopping.patience": self.early_stopping.patience is not None,
            "evaluate_untrained": self.evaluate_untrained,
            "scheduler.name=ReduceLROnPlateau": self.scheduler.name == "ReduceLROnPlateau",
        }
        for key in (key for key, wanted in wants.items() if wanted and not self.validates):
            raise PydanticCustomError("unmonitored", "{key}: needs validation images, data.val_size", {"key": key})
        if self.early_stopping.patience is not None and self.trainer.flags.get("barebones"):
            raise PydanticCustomError("bare", "early_stopping.patience: not possible with trainer.barebones")
        return self

    @model_validator(mode="after")
    def _trains_as_asked(self) -> Self:
        """Flags of a Trainer that would be ignored, or mean something else."""
        trainer, flags = self.trainer, self.trainer.flags
        one_device = trainer.devices in (1, "1") or (isinstance(trainer.devices, tuple) and len(trainer.devices) == 1)
        refused = {
            "devices: one run trains on one device; a sweep (-m) uses several, one for each job": not one_device,
            "num_nodes: one run trains on one device; a sweep (-m) uses several": flags.get("num_nodes", 1) != 1,
            "strategy: one run trains on one device": flags.get("strategy", "auto") != "auto",
            "accumulate_grad_batches: not supported; multiply data.batch_size instead": flags.get(
                "accumulate_grad_batches", 1
            )
            != 1,
            "min_steps: not supported; use trainer.min_epochs": flags.get("min_steps") is not None,
            "detect_anomaly: not supported; a loss that is not finite ends a run": flags.get("detect_anomaly") is True,
            "min_epochs: not possible with trainer.max_steps": bool(trainer.min_epochs and trainer.max_steps >= 0),
            "min_epochs: must be at most trainer.max_epochs": (trainer.min_epochs or 0) > trainer.max_epochs,
        }
        for reason, holds in refused.items():
            if holds:
                raise PydanticCustomError("refused", "trainer.{reason}", {"reason": reason})
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        optimizer, scheduler = self.optimizer, self.scheduler
        if optimizer.name == "SGD" and optimizer.nesterov and (not optimizer.momentum or optimizer.dampening):
            raise PydanticCustomError("nesterov", "optimizer.nesterov: needs optimizer.momentum, and no dampening")
        if optimizer.name == "RMSprop" and (optimizer.alpha or 0) >= 1:
            raise PydanticCustomError("alpha", "optimizer.alpha: must be below 1 for RMSprop")
        if scheduler.name == "ReduceLROnPlateau" and scheduler.interval == "step":
            raise PydanticCustomError("plateau", "scheduler.interval: must be epoch for ReduceLROnPlateau, got step")
        if scheduler.name == "ReduceLROnPlateau" and (scheduler.model_extra or {}).get("mode", "min") != self.mode:
            values = {"mode": self.mode, "monitor": self.monitor}
            raise PydanticCustomError("mode", "scheduler.mode: must be {mode} for monitor={monitor}", values)
        if scheduler.warmup and scheduler.name in ("OneCycleLR", "CyclicLR", "ReduceLROnPlateau"):
            raise PydanticCustomError("cycle", "scheduler.warmup: not possible with {name}", {"name": scheduler.name})
        if scheduler.warmup and scheduler.interval != "step" and (scheduler.name or scheduler.interval):
            raise PydanticCustomError("warmup", "scheduler.warmup: counts steps: needs scheduler.interval=step")
        return self

    @model_validator(mode="after")
    def _aids_fit_the_run(self) -> Self:
        if self.aids.max_norm is not None and not self.model.hidden:
            raise PydanticCustomError("hidden", "aids.max_norm: needs a hidden layer, model.hidden")
        averaging = self.averaging
        for key, name in (("decay", "ema"), ("start", "swa")):
            if key in averaging.model_fields_set and averaging.name != name:
                raise PydanticCustomError(
                    "other", "averaging.{key}: needs averaging={name}", {"key": key, "name": name}
                )
        images, size, limit = (
            datasets.DATASETS[self.data.name].train_images,
            self.data.batch_size,
            self.trainer.limit_train_batches,
        )
        left = (images - self.data.val_size) % size  # images of the last batch of an epoch, if it is smaller
        if self.model.batch_norm and (size == 1 or (left == 1 and isinstance(limit, float))):
            raise PydanticCustomError(
                "single",
                "model.batch_norm: a batch of one image has no variance, and {images} training images in batches of"
                " {size} end in one: choose another data.batch_size or data.val_size",
                {"images": images - self.data.val_size, "size": size},
            )
        return self

    @model_validator(mode="after")
    def _leaves_out_what_does_nothing(self) -> Self:
        if not self.augment.distorts:  # one run with those from before there were distortions
            self.model_fields_set.discard("augment")
        return self

    @property
    def recorded(self) -> dict[str, Any]:
        """What is noted of a run: what was given, and the defaults of the classes that optimizer and schedule are."""
        return with_class_defaults(self.model_dump(mode="json", exclude_unset=True))

    @property
    def defaults(self) -> dict[str, Any]:
        """Value of each key that need not be given; those of torch and Lightning are theirs."""
        return {
            **{f"optimizer.{key}": value for key, value in self.optimizer.defaults.items() if key != "lr"},
            **{f"scheduler.{key}": value for key, value in self.scheduler.defaults.items()},
            **{f"trainer.{key}": flag.default for key, flag in torch_signatures.trainer_flags().items()},
            **{f"trainer.{key}": field.default for key, field in Trainer.model_fields.items()},
            **AIDS,
        }

    @property
    def decisive(self) -> dict[str, Any]:
        """By key, what the figures of the run depend on, each value in one spelling, without what is as by default."""
        trainer, scheduler, rates = self.trainer, self.scheduler, set(self.model.dropout)
        clip, precision = trainer.gradient_clip_val or None, str(trainer.precision)
        by_value = clip and trainer.gradient_clip_algorithm == "value"
        distorts, bends = self.augment.distorts, self.augment.elastic_alpha > 0
        augment = self.augment.model_copy(update={} if bends else {"elastic_sigma": 4.0})
        flat, defaults = flatten(self.model_dump(mode="json", exclude_unset=True)), self.defaults
        flat |= flatten({"augment": augment.model_dump(mode="json")} if distorts else {})
        flat |= {
            "model.dropout": list(rates if len(rates) == 1 else self.model.dropout),
            "scheduler.interval": schedule_interval(dict(scheduler)) if scheduler.name or scheduler.warmup else None,
            "early_stopping.min_delta": 0.0 if self.early_stopping.patience is None else self.early_stopping.min_delta,
            "trainer.gradient_clip_val": clip,
            "trainer.gradient_clip_algorithm": "value" if by_value else None,
            "trainer.precision": f"{precision}-true" if precision.isdigit() else precision,
        }
        for section, part in (("optimizer", self.optimizer), ("scheduler", scheduler)):
            for key, argument in type(part).classes().get(str(part.name), {}).items():
                if f"{section}.{key}" in flat and "float" in (argument.kinds or ()):
                    flat[f"{section}.{key}"] = _as_float(flat[f"{section}.{key}"])
        return {
            key: value
            for key, value in flat.items()
            if not changes_nothing(key) and not (key in defaults and _is_default(key, value, defaults[key]))
        }

    @property
    def hash(self) -> str:
        """The same for runs that do the same, wherever their data lie and however often they are saved or shown."""
        fixed = {
            "trainer.devices": 1,
            "trainer.num_sanity_val_steps": 0,
        }  # as in every run from before they were left out
        decisive = {key: value for key, value in self.decisive.items() if key != "trick"}
        return hashlib.sha256(json.dumps(nested(decisive | fixed), sort_keys=True).encode()).hexdigest()[:16]


def changes_nothing(key: str) -> bool:
    return key in CHANGES_NOTHING or key.partition(".")[0] in CHANGES_NOTHING


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"hidden": 128}} -> {"model.hidden": 128}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"model.hidden": 128} -> {"model": {"hidden": 128}}."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return tree


def _is_default(key: str, value: Any, default: Any) -> bool:
    if key.startswith("trainer."):  # where 1 is one batch, and 1.0 all of them; and null, false and 0 are one
        return (type(value) is type(default) and value == default) or not (value or default)
    return bool(value == (list(default) if isinstance(default, tuple) else default))


def _as_float(value: Any) -> Any:
    """2 -> 2.0, also within lists."""
    if isinstance(value, list):
        return [_as_float(part) for part in value]
    return float(value) if type(value) is int else value
