"""The schema: every key with its type, range, unit and meaning.

Imports neither torch nor lightning, so that mistakes are reported in half a second.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mlplab.config import datasets, run_hash, torch_signatures
from mlplab.config.class_defaults import class_defaults, with_class_defaults
from mlplab.config.fields import Affects, affects, fields
from mlplab.config.former_keys import renamed
from mlplab.config.spelling import did_you_mean


def _as_tuple(value: object) -> object:
    """512 -> (512,), [512, 512] -> (512, 512)."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=2**20)], ...], BeforeValidator(_as_tuple)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Rates = Annotated[tuple[Rate, ...], BeforeValidator(_as_tuple)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
# An int counts batches, a float is a fraction of them.
BatchLimit = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
Devices = int | str | Annotated[tuple[int, ...], BeforeValidator(_as_tuple)]
Precision = Literal[32, 64, "32", "64", "bf16-mixed", "16-true", "bf16-true", "32-true", "64-true", "bf16-if-fast"]
BFLOAT16_IF_FAST = "bf16-if-fast"
NOTHING = Affects("nothing")


def _known(name: str, names: Iterable[str]) -> str:
    if name not in names:
        choices = {"names": ", ".join(sorted(names)), "close": did_you_mean(name, names)}
        raise PydanticCustomError("unknown", "must be one of {names}", choices)
    return name


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    name: datasets.Name = Field(description="data set")
    split: str | None = Field(default=None, description="split of emnist or qmnist")
    root: Annotated[str, NOTHING] = Field(
        min_length=1, description="folder of the data sets, where downloads go; for folder, csv and idx: your data"
    )
    prepare: Literal["mnist", "fashion", "none"] = Field(
        default="mnist", description="frame your pictures like the images of a data set, or use them as they are"
    )
    label_column: Literal["auto", "first", "last"] = Field(
        default="auto", description="column of the labels in csv; auto: found by name or values, if unambiguous"
    )
    test_size: float = Field(default=0.2, gt=0, lt=1, description="share of own data set aside if there is no test set")
    val_size: int | float = Field(
        ge=0, description="training images set aside for validation, or a fraction of them below 1"
    )
    split_seed: int = Field(ge=0, lt=2**32, description="selects the images set aside and the labels made wrong")
    train_size: Count | None = Field(default=None, description="training images, equally many of each class")
    label_noise: Rate = Field(default=0.0, description="share of the training labels replaced by other classes")
    batch_size: int = Field(ge=1, description="images per training step")
    normalize: Literal["standard", "unit", "symmetric"] = Field(
        description="scale pixels to mean 0 and variance 1, to 0..1, or to -1..1"
    )

    @property
    def key(self) -> str:
        return datasets.key_of(self.name, self.split)

    @property
    def label(self) -> str:
        return datasets.label(self.name, self.split, self.root)

    @property
    def facts(self) -> datasets.Facts | None:
        """The facts of the data set; None for own data, whose facts are known once they are read."""
        return datasets.DATASETS.get(self.key)

    @property
    def is_own(self) -> bool:
        return self.name in datasets.OWN

    @property
    def reading(self) -> datasets.Reading:
        if not self.is_own:
            return datasets.USUAL
        return datasets.Reading(self.prepare, self.label_column, self.test_size, self.split_seed)

    @property
    def train_images(self) -> int | None:
        """The number of training images; None if it is known only once own data are read."""
        if self.facts is None or isinstance(self.val_size, float):
            return self.train_size
        return self.train_size or self.facts.train_images - self.val_size

    @field_validator("split")
    @classmethod
    def _is_of_the_data_set(cls, split: str | None, info: ValidationInfo) -> str | None:
        splits = datasets.SPLITS.get(info.data.get("name", ""), ())
        if split is None and not splits:
            return None
        if not splits:
            raise PydanticCustomError("split", "must be null: only emnist and qmnist have splits")
        return _known(split or "", splits)

    @field_validator("root", mode="before")
    @classmethod
    def _is_given(cls, root: object, info: ValidationInfo) -> object:
        if root is None and info.data.get("name") in datasets.OWN:
            raise PydanticCustomError("missing_root", "must be given: the folder or file of your data")
        return root

    @field_validator("root")
    @classmethod
    def _is_a_folder(cls, root: str) -> str:
        if "://" in root:
            raise PydanticCustomError("address", "must be a folder on this machine")
        return root

    @field_validator("val_size", mode="before")
    @classmethod
    def _is_a_number(cls, val_size: object, info: ValidationInfo) -> object:
        """Turn a fraction, such as 0.2, into a number of images, if the total is known."""
        if isinstance(val_size, float) and val_size >= 1:
            raise PydanticCustomError("whole", "must be an integer, or a fraction below 1")
        facts = _facts(info)
        if facts is None or not isinstance(val_size, float) or val_size < 0:
            return val_size
        return max(1, round(val_size * facts.train_images)) if val_size else 0

    @field_validator("val_size")
    @classmethod
    def _leaves_training_images(cls, val_size: float, info: ValidationInfo) -> float:
        facts = _facts(info)
        if facts is not None and val_size >= facts.train_images:
            most = {"most": facts.train_images - 1, "available": facts.train_images}
            raise PydanticCustomError("size", "must be at most {most}, one less than the {available} images", most)
        return val_size or 0

    @field_validator("train_size")
    @classmethod
    def _is_available(cls, train_size: int | None, info: ValidationInfo) -> int | None:
        facts, val_size = _facts(info), info.data.get("val_size", 0)
        if facts is not None and train_size is not None and train_size > facts.train_images - val_size:
            most = {"most": facts.train_images - val_size}
            raise PydanticCustomError("size", "must be at most {most}, the images not set aside for validation", most)
        return train_size


def _facts(info: ValidationInfo) -> datasets.Facts | None:
    return datasets.DATASETS.get(datasets.key_of(info.data.get("name", ""), info.data.get("split")))


class Model(Section):
    hidden: Widths = Field(description="width of each hidden layer: 512, [512,512], or [] for softmax regression")
    dropout: Rates = Field(description="fraction of hidden units dropped: one rate, or one per layer")
    activation: str = Field(description="elementwise activation of torch.nn")
    batch_norm: bool = Field(default=False, description="batch normalisation before each hidden activation")

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


class Distortions(Section):
    """Limits of the distortion of training images, see `mlplab.data.augmentation.Distortion`."""

    shift: int = Field(default=0, ge=0, description="largest shift in each direction, in pixels")
    flip: float = Field(default=0.0, ge=0, le=1, description="probability of mirroring left to right")
    rotation: float = Field(default=0.0, ge=0, le=180, description="largest rotation either way, in degrees")
    scale: Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple)] = Field(
        default=(1.0, 1.0), min_length=2, max_length=2, description="smallest and largest factor of the size"
    )
    shear: float = Field(default=0.0, ge=0, lt=90, description="largest shear either way, in degrees")
    elastic_alpha: NotNegative = Field(default=0.0, description="strength of elastic distortion, in pixels")
    elastic_sigma: float = Field(default=4.0, ge=0.01, description="smoothness of elastic distortion, in pixels")

    @field_validator("scale")
    @classmethod
    def _is_in_order(cls, scale: tuple[float, ...]) -> tuple[float, ...]:
        if scale[0] > scale[1]:
            raise PydanticCustomError("order", "must be the smaller factor, then the larger one")
        return scale

    @property
    def distortions(self) -> dict[str, Any] | None:
        """Arguments of `Distortion`; None if nothing is distorted."""
        found = self.model_dump(include=set(Distortions.model_fields))
        return None if found | {"elastic_sigma": 4.0} == Distortions().model_dump() else found


class Regularization(Distortions):
    """All regularisation except model.dropout, model.batch_norm, optimizer.weight_decay and scheduler.warmup."""

    input_dropout: Rate = Field(default=0.0, description="fraction of pixels dropped")
    input_noise: NotNegative = Field(default=0.0, description="standard deviation of noise on normalised pixels")
    hidden_noise: NotNegative = Field(
        default=0.0, description="standard deviation of noise before each hidden activation, after batch norm"
    )
    label_smoothing: Rate = Field(default=0.0, description="fraction of the target spread over all classes in training")
    mixup: Positive | None = Field(default=None, description="alpha of the Beta distribution that mixes two images")
    max_norm: Positive | None = Field(default=None, description="largest norm of the weights into a hidden unit")
    averaging: Literal["ema", "swa"] | None = Field(
        default=None, description="average the weights by step (ema) or epoch (swa), for validation and test"
    )
    ema_decay: Rate = Field(default=0.999, description="with ema, fraction of the average that each step keeps")
    swa_start: Rate = Field(default=0.75, description="with swa, fraction of the epochs before averaging begins")

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `Classifier`."""
        names = ("input_dropout", "input_noise", "hidden_noise", "label_smoothing", "mixup", "max_norm")
        averaging = {
            "ema": {"name": "ema", "decay": self.ema_decay},
            "swa": {"name": "swa", "start": self.swa_start},
        }.get(self.averaging or "")
        return self.model_dump(include=set(names)) | {"averaging": averaging}


class TorchClass(Section):
    """A torch class and its arguments; those that are not given have torch's defaults.

    The arguments declared here have a type and a range; one that the class does not take is None.
    """

    model_config = ConfigDict(extra="allow")

    classes: ClassVar[Callable[[], dict[str, torch_signatures.Arguments]]]
    name: str | None

    @field_validator("name")
    @classmethod
    def _is_in_torch(cls, name: str | None) -> str | None:
        return None if name is None else _known(name, cls.classes())

    @model_validator(mode="after")
    def _has_the_defaults_of_its_class(self) -> Self:
        known = type(self).model_fields.keys() - self.model_fields_set
        self.__dict__.update({key: default for key, default in self.defaults.items() if key in known})
        return self

    @property
    def defaults(self) -> dict[str, Any]:
        return class_defaults(type(self).classes(), self.name)


class Optimizer(TorchClass):
    classes = torch_signatures.optimizers

    name: str = Field(description="class of torch.optim")
    lr: float = Field(gt=0, description="learning rate")
    weight_decay: NotNegative | None = Field(default=None, description="L2 penalty, or decoupled decay in AdamW")
    momentum: NotNegative | None = Field(default=None, description="momentum")
    dampening: NotNegative | None = Field(default=None, description="dampening of the momentum")
    nesterov: bool | None = Field(default=None, description="Nesterov momentum")
    betas: Rates | None = Field(
        default=None, min_length=2, max_length=2, description="decay of the mean gradient and its square"
    )
    alpha: NotNegative | None = Field(default=None, description="decay of the mean of squared gradients")
    rho: Rate | None = Field(default=None, description="decay of the mean of squared gradients")
    eps: NotNegative | None = Field(default=None, description="added to the denominator")


class Scheduler(TorchClass):
    classes = torch_signatures.schedulers

    name: str | None = Field(description="class of torch.optim.lr_scheduler, or null for a constant rate")
    interval: Literal["step", "epoch"] | None = Field(
        description="unit of the schedule; null: the usual one of its class"
    )
    warmup: int = Field(default=0, ge=0, description="steps in which the learning rate rises linearly from 0")
    step_size: Count | None = Field(default=None, description="steps or epochs between changes")
    T_max: Count | None = Field(default=None, description="steps or epochs to the lowest rate; null: the whole run")
    T_0: Count | None = Field(default=None, description="steps or epochs to the first restart")
    total_steps: Count | None = Field(default=None, description="steps or epochs of the cycle; null: the whole run")
    total_iters: Count | None = Field(default=None, description="steps or epochs until the rate stays constant")
    gamma: NotNegative | None = Field(default=None, description="factor of the learning rate")


class Trainer(Section):
    """Flags of lightning.Trainer; those that are not declared here are checked by name only."""

    model_config = ConfigDict(extra="allow")

    max_epochs: Annotated[int, Affects("length")] = Field(ge=1, description="passes over the training images")
    accelerator: Annotated[Accelerator, Affects("rounding")] = Field(description="hardware to train on")
    devices: Annotated[Devices, NOTHING] = Field(description="1, or the device to train on, such as [0]")
    enable_progress_bar: Annotated[bool | None, NOTHING] = Field(description="show a bar; null: only in a terminal")
    enable_model_summary: Annotated[bool | None, NOTHING] = Field(default=True, description="print the table of layers")
    precision: Precision = Field(
        default="32-true",
        description="arithmetic; bf16-if-fast: bf16-mixed if the processor has bfloat16, else 32-true",
    )
    max_steps: Literal[-1] | Count = Field(default=-1, description="training steps; -1: no limit")
    max_time: Annotated[str | dict[str, int] | None, NOTHING] = Field(
        default=None, description="time limit after which the run is interrupted, as DD:HH:MM:SS"
    )
    min_epochs: int | None = Field(default=None, ge=1, description="epochs before early stopping may stop")
    check_val_every_n_epoch: int = Field(default=1, ge=1, description="epochs between validations")
    val_check_interval: BatchLimit = Field(
        default=1.0, description="batches, or fraction of an epoch, before validation"
    )
    num_sanity_val_steps: Annotated[int | None, NOTHING] = Field(
        default=2, ge=-1, description="batches validated before training, as a check; -1: all"
    )
    limit_train_batches: BatchLimit = Field(
        default=1.0, description="training batches per epoch, or a fraction of them"
    )
    limit_val_batches: BatchLimit | Literal[0] = Field(
        default=1.0, description="batches per validation, or a fraction of them"
    )
    limit_test_batches: BatchLimit = Field(default=1.0, description="test batches, or a fraction of them")
    gradient_clip_val: NotNegative | None = Field(default=None, description="upper bound of the gradient; null: none")
    gradient_clip_algorithm: Literal["norm", "value"] | None = Field(
        default=None, description="bound the norm or each value; null: the norm"
    )
    deterministic: bool | Literal["warn"] | None = Field(default=None, description="use only deterministic algorithms")
    logger: Annotated[bool, NOTHING] = Field(default=True, description="write TensorBoard curves")
    log_every_n_steps: Annotated[int, NOTHING] = Field(default=50, ge=1, description="steps between logged values")
    enable_checkpointing: bool = Field(default=True, description="write best.ckpt and last.ckpt")

    @property
    def flags(self) -> dict[str, Any]:
        """The flags that were given; the others have Lightning's defaults."""
        return self.model_dump(exclude_unset=True)


class EarlyStopping(Section):
    patience: int | None = Field(ge=0, description="epochs without improvement before training stops; null: never")
    min_delta: NotNegative = Field(description="smallest change that counts as an improvement")


class Show(Section):
    """Pictures and curves in addition to the metrics of each epoch."""

    scalars: bool = Field(description="curves by step and epoch, generalisation gap, speed, and a layout of charts")
    images: bool = Field(description="training images, before and after distortion")
    confusion: bool = Field(description="confusion matrices: validation by epoch, and test")
    mistakes: bool = Field(description="the most confident mistakes in the test")
    weights: bool = Field(description="first-layer weights as images")
    graph: bool = Field(description="graph of the network")
    text: bool = Field(description="configuration, command line and table of layers")
    pr_curves: bool = Field(description="precision and recall of each class in the test")
    histograms: bool = Field(description="weights and gradients by epoch")
    projector: bool = Field(description="last hidden layer for test images, with their pictures")
    files: bool = Field(description="curves.png, confusion.png and mistakes.png in the run folder")


class Published(Section):
    """A published or reference figure for the network of a recipe."""

    title: str | None = Field(default=None, description="network and training, in a line")
    source: str | None = Field(default=None, description="where it was published")
    accuracy: str | None = Field(default=None, pattern=r"^\d+\.\d+$", description="test accuracy, in percent")
    sd: str | None = Field(default=None, pattern=r"^\d+\.\d+$", description="its standard deviation over n runs")
    n: Count | None = Field(default=None, description="runs")


class Config(Section):
    """One run."""

    seed: int = Field(ge=0, lt=2**32, description="seeds the weights, the order of the images, distortions and dropout")
    monitor: Literal["val/loss", "val/acc"] = Field(description="metric that selects best.ckpt")
    evaluate_untrained: Annotated[bool, Affects("untrained")] = Field(description="validate once before training")
    trick: Annotated[str | None, Affects("report")] = Field(
        default=None, description="name of the change under test, a column in the report; set by ablation=..."
    )
    early_stopping: EarlyStopping
    data: Data
    model: Model
    regularization: Regularization = Regularization()
    optimizer: Optimizer
    scheduler: Scheduler
    trainer: Trainer
    show: Annotated[Show, NOTHING]
    published: Annotated[Published, NOTHING] = Published()

    @property
    def mode(self) -> Literal["min", "max"]:
        """The direction in which the monitored metric improves."""
        return "min" if self.monitor == "val/loss" else "max"

    @property
    def validates(self) -> bool:
        return self.data.val_size > 0 and self.trainer.limit_val_batches > 0

    @property
    def recorded(self) -> dict[str, Any]:
        """The configuration as written to result.json, with the defaults of the optimizer and schedule classes."""
        return with_class_defaults(self.model_dump(mode="json", exclude_unset=True))

    @property
    def hash(self) -> str:
        """A hash of every setting that affects the result; the data folder and the `show` switches do not."""
        return run_hash.of(self)


def keys_that_affect(*what: str) -> frozenset[str]:
    """Return the keys whose `Affects.what` is one of these."""
    return frozenset(key for key, field in fields(Config).items() if affects(field) in what)


def completed(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a stored configuration with the current keys, and with defaults filled in so that runs can be compared."""
    filled = with_class_defaults(renamed(tree))
    given = filled.get("regularization", {})
    if isinstance(given, dict):
        filled["regularization"] = Regularization().model_dump(mode="json") | given
    return filled
