from typing import Any

import pytest
from conftest import Compose

from mlplab.config import spelling
from mlplab.config.datasets import DATASETS
from mlplab.config.fields import flatten, nested
from mlplab.config.schema import Regularization, Show
from mlplab.config.validation import nearest, parse
from mlplab.data.augmentation import Distortion
from mlplab.errors import ConfigError

PLAIN: dict[str, Any] = {
    "seed": 0,
    "monitor": "val/loss",
    "evaluate_untrained": False,
    "early_stopping": {"patience": None, "min_delta": 0.0},
    "show": dict.fromkeys(Show.model_fields, False),
    "data": {
        "name": "mnist", "root": "data", "val_size": 5000, "split_seed": 0, "batch_size": 32, "normalize": "standard",
    },
    "regularization": {"shift": 0, "scale": [1.0, 1.0]},
    "model": {"hidden": 128, "dropout": 0.0, "activation": "ReLU"},
    "optimizer": {"name": "Adam", "lr": 0.001},
    "scheduler": {"name": None, "interval": "epoch"},
    "trainer": {"max_epochs": 5, "accelerator": "auto", "devices": 1, "enable_progress_bar": None},
}  # fmt: skip


def _with(changes: dict[str, Any]) -> dict[str, Any]:
    return nested(flatten(PLAIN) | changes)


def _refusal(changes: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(_with(changes))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("written", "hidden"), [(512, (512,)), ([512], (512,)), ([512, 64], (512, 64)), ([], ()), ((3, 2), (3, 2))]
)
def test_hidden_is_a_width_or_a_list(written: object, hidden: tuple[int, ...]) -> None:
    assert parse(_with({"model.hidden": written})).model.hidden == hidden


@pytest.mark.parametrize(("written", "dropout"), [(0, (0,)), (0.5, (0.5,)), ([0.1, 0.2], (0.1, 0.2))])
def test_dropout_is_a_rate_or_a_list(written: object, dropout: tuple[float, ...]) -> None:
    assert parse(_with({"model.hidden": [8, 8], "model.dropout": written})).model.dropout == dropout


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("seed", 2**32, ["less than 4294967296"]),
        ("seed", "abc", ["integer", "'abc'"]),
        ("monitor", "val/accuracy", ["'val/loss' or 'val/acc'", "'val/accuracy'"]),
        ("evaluate_untrained", "maybe", ["boolean", "'maybe'"]),
        ("data.name", "cifar", ["'mnist', 'fashion', 'digits', ", "'cifar'"]),
        ("data.root", "", ["at least 1 character"]),
        ("data.root", None, ["string", "None"]),
        ("data.root", "s3://bucket/mnist", ["must be a folder on this machine", "s3://bucket/mnist"]),
        ("data.val_size", 60_000, ["at most 59999", "60000"]),
        ("data.val_size", -1, ["greater than or equal to 0", "-1"]),
        ("data.val_size", 1.0, ["integer", "1.0", "or a fraction of them below 1"]),
        ("optimizer.weight_decay", None, ["must be float", "None"]),
        ("data.batch_size", 0, ["greater than or equal to 1", "got 0"]),
        ("model.hidden", "abc", ["integer", "'abc'"]),
        ("model.hidden", [512, 0], ["greater than or equal to 1", "got 0"]),
        ("model.hidden", True, ["integer", "True"]),
        ("model.dropout", 1.5, ["less than 1", "1.5"]),
        ("model.dropout", [0.1, 0.2], ["one rate, or 1 for 1 layers", "[0.1, 0.2]"]),
        ("model.activation", "Relu", ["Tanh", "did you mean ReLU?", "'Relu'"]),
        ("optimizer.name", "Adamm", ["RMSprop", "did you mean Adam?", "'Adamm'"]),
        ("optimizer.name", "SparseAdam", ["must be one of", "'SparseAdam'"]),
        ("optimizer.name", ["Adam"], ["string", "['Adam']"]),
        ("optimizer.name", None, ["string", "None"]),
        ("optimizer.lr", -1, ["greater than 0", "-1"]),
        ("optimizer.lr", float("nan"), ["finite", "nan"]),
        ("optimizer.lr", "fast", ["number", "'fast'"]),
        ("optimizer.betas", 0.9, ["0.9"]),
        ("optimizer.amsgrad", "abc", ["'abc'"]),
        ("scheduler.name", "Cosine", ["CosineAnnealingLR", "'Cosine'"]),
        ("trainer.precision", 8, ["'bf16-mixed'", "got 8"]),
        ("trainer.limit_val_batches", 2.5, ["less than or equal to 1", "2.5"]),
        ("regularization.flip", 2, ["less than or equal to 1", "got 2"]),
        ("regularization.scale", [1.2, 0.8], ["the smaller factor", "[1.2, 0.8]"]),
        ("regularization.scale", 1.1, ["at least 2 items", "1.1"]),
        ("regularization.tilt", 3, ["unknown key"]),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line_with_its_key(key: str, value: object, says: list[str]) -> None:
    (line,) = _refusal({key: value})
    assert line.startswith(f"{key}: ")
    for words in says:
        assert words in line


@pytest.mark.parametrize(
    ("changes", "begins", "meant"),
    [
        ({"seeed": 3}, "seeed: unknown key", "seed"),
        ({"model.hiden": 3}, "model.hiden: unknown key", "model.hidden"),
        ({"data.size": 3}, "data.size: unknown key", ""),
        ({"aids": {"mixup": 0.2, "mixdown": 1}}, "aids: unknown key", ""),
        ({"trainer.max_epoch": 3}, "trainer.max_epoch: not a flag of lightning.Trainer", "max_epochs"),
        ({"trainer.epochs": 3}, "trainer.epochs: not a flag of lightning.Trainer", "max_epochs"),
        ({"trainer.batch_size": 3}, "trainer.batch_size: not a flag of lightning.Trainer", "data.batch_size"),
        ({"trainer.callbacks": []}, "trainer.callbacks: not a flag of lightning.Trainer that can be given here", ""),
        ({"optimizer.momentum": 0.9}, "optimizer.momentum: Adam takes lr, betas, eps", ""),
        ({"optimizer.weight_deca": 0.9}, "optimizer.weight_deca: Adam takes", "weight_decay"),
        ({"optimizer.learning_rate": 3}, "optimizer.learning_rate: Adam takes", "lr"),
        ({"optimizer.epochs": 3}, "optimizer.epochs: Adam takes", "trainer.max_epochs"),
        ({"scheduler.T_max": 3}, "scheduler.T_max: a constant rate takes no arguments", ""),
        ({"scheduler.name": "StepLR"}, "scheduler.step_size: must be given, StepLR needs it", ""),
        ({"scheduler.name": "StepLR", "scheduler.step_size": 0}, "scheduler.step_size: must be greater than or eq", ""),
        ({"trainer.detect_anomaly": "abc"}, "trainer.detect_anomaly: must be bool, got 'abc'", ""),
        ({"optimizer": 3}, "optimizer: ", ""),
        ({"trainer": [1]}, "trainer: ", ""),
    ],
)
def test_a_key_or_a_value_that_a_class_does_not_take_is_refused(
    changes: dict[str, Any], begins: str, meant: str
) -> None:
    (found,) = _refusal(changes)
    assert found.startswith(begins)
    assert not meant or f"did you mean {meant}?" in found


def test_every_mistake_is_listed() -> None:
    wrong = {"model.hidden": 0, "optimizer.lr": -1, "trainer.foo": 1, "seeed": 3, "data.batch_size": "x"}
    assert {line.split(":")[0] for line in _refusal(wrong)} == set(wrong)


def test_a_missing_key_is_named() -> None:
    plain = _with({})
    del plain["model"]["hidden"]
    with pytest.raises(ConfigError, match=r"^model\.hidden: must be given$"):
        parse(plain)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("modle.hidden", "model.hidden"),
        ("hidden", "model.hidden"),
        ("optimzer.lr", "optimizer.lr"),
        ("n_epochs", "trainer.max_epochs"),
        ("lr", "optimizer.lr"),
        ("dataset", "data"),
        ("model.layers", "model.hidden"),
        ("validation_split", "data.val_size"),
        ("l2", "optimizer.weight_decay"),
        ("random_state", "seed"),
        ("out-dir", "hydra.run.dir"),
    ],
)
def test_nearest_key(typed: str, meant: str) -> None:
    assert nearest(typed) == f"; did you mean {meant}?"


@pytest.mark.parametrize("word", ["xyzzy", "class_weights", "num_workers", "loss", "size"])
def test_nothing_is_near(word: str) -> None:
    assert nearest(word) == ""


def test_what_is_meant_exists() -> None:
    """Each name from other libraries leads to a key, a group or a choice."""
    for meant in spelling.ELSEWHERE:
        assert nearest(f"x{meant}") == f"; did you mean {meant}?" or meant == "fashion"


@pytest.mark.parametrize(
    ("name", "size", "images"), [("mnist", 0.2, 12_000), ("digits", 0.2, 287), ("mnist", 0.0, 0), ("digits", 1e-4, 1)]
)
def test_images_to_validate_may_be_a_share(name: str, size: float, images: int) -> None:
    assert parse(_with({"data.name": name, "data.val_size": size})).data.val_size == images


@pytest.mark.parametrize("choice", ["none", "shift", "affine", "elastic", "affine_elastic", "shift_flip"])
def test_every_choice_of_distortions_is_one(composed: Compose, choice: str) -> None:
    distortions = composed(f"regularization={choice}").regularization.distortions
    assert Distortion(**distortions or {}).is_identity == (choice == "none") == (distortions is None)


def test_it_cannot_be_changed() -> None:
    config = parse(_with({}))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # type: ignore[misc]


def test_defaults_of_the_files(composed: Compose) -> None:
    assert composed().regularization == Regularization()
    for name in ("mnist", "fashion", "digits", "kmnist", "emnist", "qmnist"):
        data = composed(f"data={name}").data
        assert data.val_size == DATASETS[data.key].val_size


def test_the_command_line_has_the_last_word_over_a_recipe(composed: Compose) -> None:
    config = composed("experiment=mnist_512x2_rmsprop", "trainer.max_epochs=3", "model.dropout=0.1", "seed=3")
    assert (config.trainer.max_epochs, config.model.dropout, config.seed) == (3, (0.1,), 3)
