"""Training by blocks of batches: the result does not depend on blocks or their length."""

import itertools
from collections.abc import Iterable, Iterator
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeTrainer, mnist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from plain_loop import Loop
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from mlplab.data import blocks
from mlplab.data.blocks import Batch, Block
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import DivergedError
from mlplab.model import fused_optimizers
from mlplab.model.classifier import Classifier
from mlplab.model.mlp import MLP
from mlplab.model.optimizers import make_optimizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the batches are in memory
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),  # a custom loader
    pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no"),  # a foreign module
]

ADAM = {"name": "Adam", "lr": 1e-3}
SGD = {"name": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True}
COSINE = {"name": "CosineAnnealingLR", "interval": "step"}
STEPS = 19  # of an epoch


class Blocks(Classifier):
    """A classifier with blocks of a chosen length."""

    length = STEPS

    def batches_per_block(self, batch_size: int) -> int:
        return self.length


@pytest.fixture
def datamodule(tiny_root: Path) -> ImageDataModule:
    """Data module with epochs of 19 batches, the last of which has 6 images instead of 8."""
    return mnist(tiny_root, batch_size=8)


def _classifier(length: int = STEPS, **arguments: Any) -> Blocks:
    torch.manual_seed(0)
    classifier = Blocks([16], **{"optimizer": ADAM, **arguments})
    classifier.length = length
    return classifier


class Noted(Callback):
    """Records what Lightning passes to callbacks."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.points: dict[int, Any] = {}  # by step
        self.validated_after: list[int] = []  # so many steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches.append(batch)
        self.points |= outputs["points"]

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.validated_after.append(pl_module.steps)


def _fitted(
    make: MakeTrainer,
    datamodule: ImageDataModule,
    length: int = STEPS,
    flags: dict[str, Any] | None = None,
    **rest: Any,
) -> tuple[Blocks, Noted]:
    classifier, noted = _classifier(length, **rest), Noted()
    flags = {"max_epochs": 3, **(flags or {})}
    flags["callbacks"] = [noted, *flags.get("callbacks", [])]
    make(**flags).fit(classifier, datamodule=datamodule)
    return classifier, noted


def _batches(datamodule: ImageDataModule, epochs: int) -> Iterator[Batch]:
    """Return normalised, undistorted batches in the order of training, computed from the rows."""
    for epoch in range(epochs):
        images, labels = datamodule.training_data(torch.device("cpu"))
        for rows in datamodule.epoch_rows(epoch).split(datamodule.batch_size):
            yield datamodule.normalized(images[rows]), labels[rows]


def _plain_loop(
    batches: Iterable[Batch], optimizer: dict[str, Any], dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, list[float]]:
    """Return weights and the loss of each step, starting from the weights of `_classifier`."""
    loop = Loop(_classifier().mlp, optimizer, 8, dtype=dtype)
    for images, labels in batches:
        loop.step(images, labels, 0, 0)  # nothing is drawn
    return loop.trained.network, loop.trained.losses


def _assert_near(one: nn.Module, other: nn.Module, tolerance: float = 1e-5) -> None:
    for found, expected in zip(one.parameters(), other.parameters(), strict=True):
        assert (found - expected).norm() <= tolerance * expected.norm()


def _assert_equal(one: nn.Module, other: nn.Module) -> None:
    for (name, found), expected in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name


DRAWING: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.3, "input_dropout": 0.1},
    "noise": {"input_noise": 0.3, "hidden_noise": 0.2, "batch_norm": True},
    "RReLU": {"activation": "RReLU"},
    "mixup": {"mixup": 0.5},
    "distortion": {"augment": {"shift": 1, "rotation": 10.0, "elastic_alpha": 8.0}},
    "schedule": {"scheduler": COSINE, "optimizer": SGD},
    "all": {
        "augment": {"shift": 1, "scale": (0.9, 1.1), "rotation": 10.0, "elastic_alpha": 8.0},
        "dropout": 0.3,
        "input_dropout": 0.1,
        "input_noise": 0.1,
        "hidden_noise": 0.2,
        "batch_norm": True,
        "activation": "RReLU",
        "mixup": 0.5,
        "max_norm": 1.0,
        "averaging": {"name": "ema", "decay": 0.9},
        "gradient_clip_val": 0.5,
        "scheduler": {"name": "OneCycleLR", "warmup": 5},
    },
}


@pytest.mark.parametrize("kind", ["dropout", "schedule", "all"])
def test_a_block_may_end_anywhere(
    tiny_root: Path, trainer: MakeTrainer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = DRAWING[kind]

    def run(length: int, seed: int = 0, at_once: int = 1024) -> Blocks:
        monkeypatch.setattr(blocks, "IMAGES_AT_ONCE", at_once)
        chosen = {key: value for key, value in arguments.items() if key != "augment"}
        datamodule = mnist(tiny_root, batch_size=8, augment=arguments.get("augment"), seed=seed)
        classifier, noted = _fitted(trainer, datamodule, length, seed=seed, **chosen)
        assert [batch.length for batch in noted.batches[: -(-STEPS // length)]] == [
            min(length, STEPS - first) for first in range(0, STEPS, length)
        ]
        return classifier

    whole = run(STEPS)
    assert whole.steps == 3 * STEPS
    for length, at_once in ((1, 1024), (3, 1024), (STEPS, 8), (STEPS, 40), (7, 16)):
        other = run(length, at_once=at_once)
        _assert_equal(other, whole)
        for found, expected in zip(other.history, whole.history, strict=True):
            assert found | {"seconds": 0} == pytest.approx(expected | {"seconds": 0}, rel=1e-6)
    assert not torch.equal(run(STEPS, seed=1).mlp[-1].weight, whole.mlp[-1].weight)


@pytest.mark.parametrize("kind", ["nothing", "dropout", "noise", "RReLU", "mixup", "distortion"])
def test_each_epoch_draws_anew(tiny_root: Path, trainer: MakeTrainer, kind: str) -> None:
    """With a learning rate of 0, and the same images in the same batches, only the draws change the loss."""
    arguments = dict(DRAWING.get(kind, {}))
    datamodule = mnist(tiny_root, batch_size=150, augment=arguments.pop("augment", None))
    classifier, _ = _fitted(trainer, datamodule, **arguments, optimizer={"name": "SGD", "lr": 0.0})
    losses = [row["train/loss"] for row in classifier.history]
    if kind == "nothing":
        assert losses == pytest.approx([losses[0]] * 3)
    else:
        assert min(abs(one - other) for one, other in itertools.combinations(losses, 2)) > 1e-5


@pytest.mark.parametrize(
    ("optimizer", "home", "length"),
    [
        (ADAM, fused_optimizers, 1),
        (SGD, fused_optimizers, STEPS),
        ({"name": "RMSprop", "lr": 1e-3}, fused_optimizers, 4),
        ({"name": "AdamW", "lr": 1e-3, "weight_decay": 0.1}, fused_optimizers, 7),
        *(({"name": name, "lr": 1e-3}, optim, 4) for name in ("Adagrad", "NAdam", "RAdam", "Rprop", "Adamax")),
        ({"name": "RMSprop", "lr": 1e-3, "momentum": 0.9}, optim, 4),
        ({"name": "RMSprop", "lr": 1e-3, "centered": True}, optim, 4),
    ],
    ids=str,
)
def test_a_run_is_a_plain_loop(
    datamodule: ImageDataModule, trainer: MakeTrainer, optimizer: dict[str, Any], home: Any, length: int
) -> None:
    """Tested with the fused optimizers, and with those that only torch has."""
    classifier, noted = _fitted(trainer, datamodule, length, {"log_every_n_steps": 1}, optimizer=optimizer)
    (used,) = classifier.trainer.optimizers
    assert type(used) is getattr(home, optimizer["name"])
    network, losses = _plain_loop(_batches(datamodule, 3), optimizer)
    _assert_near(classifier.mlp, network)
    assert all(isinstance(batch, Block) for batch in noted.batches)
    assert (classifier.images_seen, classifier.steps) == (3 * 150, 3 * STEPS)
    sizes = [8] * 18 + [6]
    for epoch, row in enumerate(classifier.history):
        own = losses[epoch * STEPS :][:STEPS]
        expected = sum(loss * size for loss, size in zip(own, sizes, strict=True)) / 150
        assert row["train/loss"] == pytest.approx(expected, rel=1e-5)
        sums = itertools.accumulate(loss * size for loss, size in zip(own, sizes, strict=True))
        found = [noted.points[step][0][0] for step in range(epoch * STEPS + 1, (epoch + 1) * STEPS + 1)]
        assert found == pytest.approx(list(sums), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "scheduler", [{"name": "OneCycleLR"}, {"name": "CyclicLR", "base_lr": 1e-4, "max_lr": 1e-3}], ids=str
)
def test_a_schedule_that_moves_the_momentum_gets_a_class_that_has_one(scheduler: dict[str, Any]) -> None:
    for given, home in ((scheduler, optim), ({**scheduler, "cycle_momentum": False}, fused_optimizers)):
        made, _, _ = make_optimizer(MLP([4]).parameters(), {"name": "RMSprop", "lr": 1e-3}, given, length=20)
        assert type(made) is home.RMSprop
        assert (made.param_groups[0]["momentum"] > 0) == (home is optim)


@pytest.mark.parametrize(
    # LBFGS by default goes over a batch 20 times, and keeps 100 of them
    ("optimizer", "tolerance"),
    [(SGD, 1e-12), ({"name": "LBFGS", "lr": 0.1, "max_iter": 4, "history_size": 4}, 1e-6)],
)
def test_a_run_in_64_bits_is_a_plain_loop_in_64_bits(
    datamodule: ImageDataModule, trainer: MakeTrainer, optimizer: dict[str, Any], tolerance: float
) -> None:
    classifier, _ = _fitted(trainer, datamodule, 4, {"precision": "64-true"}, optimizer=optimizer)
    assert (classifier.images_seen, classifier.steps) == (3 * 150, 3 * STEPS)
    mean, std = datamodule.info.mean, datamodule.info.std
    exact = (
        (((255 * (images.double() * std + mean)).round() / 255 - mean) / std, labels)
        for images, labels in _batches(datamodule, 3)
    )
    network, _ = _plain_loop(exact, optimizer, torch.float64)
    _assert_near(classifier.mlp, network, tolerance)


# In a notebook


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_loader_of_ones_own_trains_as_a_plain_loop(
    datamodule: ImageDataModule, trainer: MakeTrainer, batch_size: int
) -> None:
    images, labels = datamodule.training_data(torch.device("cpu"))
    rows = datamodule.train_rows
    loader = DataLoader(TensorDataset(datamodule.normalized(images[rows]), labels[rows]), batch_size)
    torch.manual_seed(0)
    classifier = Classifier([16], optimizer=ADAM)
    trainer(max_epochs=2).fit(classifier, train_dataloaders=loader)
    network, losses = _plain_loop(itertools.chain(loader, loader), ADAM)
    _assert_near(classifier.mlp, network)
    assert classifier.steps == len(losses) == 2 * len(loader)
    assert classifier.images_seen == 2 * 150


def test_a_loader_whose_batches_grow(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    images, labels = datamodule.training_data(torch.device("cpu"))
    batches = [(datamodule.normalized(images[:size]), labels[:size]) for size in (2, 5, 9)]
    still = {"name": "SGD", "lr": 0.0}
    classifier = Classifier([16], dropout=0.5, input_noise=0.1, optimizer=still)
    trainer(max_epochs=1).fit(classifier, train_dataloaders=DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    assert (classifier.steps, classifier.images_seen) == (3, 16)


@pytest.mark.parametrize("length", [4, STEPS])
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
def test_a_checkpoint_of_lightnings_own_counts_steps_and_training_goes_on_from_it(
    datamodule: ImageDataModule, trainer: MakeTrainer, tmp_path: Path, length: int
) -> None:
    chosen = {"dropout": 0.3, "scheduler": {"name": "StepLR", "step_size": 30, "interval": "step"}}
    saving = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    whole, _ = _fitted(trainer, datamodule, length, {"callbacks": [saving], "enable_checkpointing": True}, **chosen)
    for epoch in range(3):
        content = torch.load(tmp_path / f"epoch={epoch}.ckpt", weights_only=True)
        assert content["global_step"] == (epoch + 1) * STEPS
        assert content["images_seen"] == (epoch + 1) * 150
        (state,) = content["optimizer_states"]
        assert {float(own["step"]) for own in state["state"].values()} == {(epoch + 1) * STEPS}
    resumed = _classifier(length, **chosen)
    make = trainer(max_epochs=3, callbacks=[ModelCheckpoint(tmp_path, "again")], enable_checkpointing=True)
    make.fit(resumed, datamodule=datamodule, ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True)
    _assert_equal(resumed, whole)
    assert resumed.steps == whole.steps == 3 * STEPS
    assert [row["step"] for row in resumed.history] == [STEPS, 2 * STEPS, 3 * STEPS]


# Flags of a Trainer count steps


@pytest.mark.parametrize(
    ("steps", "length", "epochs"),
    [
        *((1, 4, {"max_epochs": -1}), (7, 1, {"min_epochs": 2, "max_epochs": 5}), (7, 4, {"max_epochs": 5})),
        *((STEPS, STEPS, {"max_epochs": -1}), (STEPS + 1, STEPS, {"max_epochs": -1}), (STEPS + 1, 4, {})),
    ],
)
def test_max_steps(
    datamodule: ImageDataModule, trainer: MakeTrainer, steps: int, length: int, epochs: dict[str, int]
) -> None:
    classifier, _ = _fitted(trainer, datamodule, length, {"max_steps": steps, **epochs})
    network, losses = _plain_loop(itertools.islice(_batches(datamodule, 3), steps), ADAM)
    assert classifier.steps == len(losses) == steps
    _assert_near(classifier.mlp, network)


def test_a_run_that_had_its_steps_takes_no_more(
    datamodule: ImageDataModule, trainer: MakeTrainer, tmp_path: Path
) -> None:
    whole, _ = _fitted(trainer, datamodule, 4, {"max_steps": 2 * STEPS, "max_epochs": -1})
    whole.trainer.save_checkpoint(tmp_path / "whole.ckpt")
    again = _classifier(4)
    make = trainer(max_steps=2 * STEPS, max_epochs=-1)
    make.fit(again, datamodule=datamodule, ckpt_path=tmp_path / "whole.ckpt", weights_only=True)
    assert again.steps == 2 * STEPS
    _assert_equal(again, whole)


@pytest.mark.parametrize(("limit", "steps"), [(1, 1), (0.5, 9), (100, STEPS)])
def test_limit_train_batches(datamodule: ImageDataModule, trainer: MakeTrainer, limit: float, steps: int) -> None:
    classifier, _ = _fitted(trainer, datamodule, flags={"limit_train_batches": limit, "max_epochs": 2})
    epochs = list(_batches(datamodule, 2))
    network, _ = _plain_loop(iter([*epochs[:steps], *epochs[STEPS : STEPS + steps]]), ADAM)
    assert [row["step"] for row in classifier.history] == [steps, 2 * steps]
    _assert_near(classifier.mlp, network)


@pytest.mark.parametrize(("share", "steps"), [(3, 3), (0.25, 4)])
@pytest.mark.filterwarnings("ignore:.*overfit")
def test_overfitting_sees_the_same_batches_in_each_epoch(
    datamodule: ImageDataModule, trainer: MakeTrainer, share: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "EVAL_BATCH_SIZE", 10)  # Lightning takes that share of validation, too
    classifier, _ = _fitted(trainer, datamodule, flags={"overfit_batches": share})
    first = list(itertools.islice(_batches(datamodule, 1), steps))
    network, _ = _plain_loop(iter(first * 3), ADAM)
    assert classifier.steps == 3 * steps
    _assert_near(classifier.mlp, network)


@pytest.mark.parametrize(
    ("flags", "after"),
    [
        ({}, [19, 38, 57]),
        ({"check_val_every_n_epoch": 2}, [38]),
        ({"val_check_interval": 8}, [8, 16, 27, 35, 46, 54]),
        ({"val_check_interval": 0.5}, [9, 18, 28, 37, 47, 56]),
        ({"val_check_interval": 1}, list(range(1, 58))),
        ({"val_check_interval": 25, "check_val_every_n_epoch": None}, [25, 50]),
        ({"limit_train_batches": 6}, [6, 12, 18]),
        ({"limit_val_batches": 0}, []),
        ({"fast_dev_run": True}, [1]),
    ],
    ids=str,
)
def test_validations_come_after_their_steps(
    datamodule: ImageDataModule, trainer: MakeTrainer, flags: dict[str, Any], after: list[int]
) -> None:
    _, noted = _fitted(trainer, datamodule, flags=flags)
    assert noted.validated_after == after


@pytest.mark.parametrize(("length", "every"), [(1, 2), (4, 3), (STEPS, 1), (STEPS, 4), (STEPS, 50)])
def test_curves_have_a_point_every_n_steps_and_at_least_four_an_epoch(
    datamodule: ImageDataModule, trainer: MakeTrainer, length: int, every: int
) -> None:
    _, noted = _fitted(trainer, datamodule, length, {"log_every_n_steps": every})
    every = min(every, 4)
    assert sorted(noted.points) == list(range(every, 3 * STEPS + 1, every))


def test_early_stopping_waits_for_min_steps(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    stopping = EarlyStopping("val/loss", min_delta=1e9, patience=1)
    flags = {"max_epochs": 9, "callbacks": [stopping], "min_steps": 3 * STEPS - 2}
    assert _fitted(trainer, datamodule, flags=flags)[0].steps in (3 * STEPS - 2, 3 * STEPS)


def test_max_time_ends_a_run_within_an_epoch(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    classifier, noted = _fitted(trainer, datamodule, 4, {"max_epochs": -1, "max_time": {"seconds": 0.3}})
    assert classifier.steps > 0
    assert classifier.steps == sum(batch.length for batch in noted.batches)
    assert classifier.images_seen == 150 * (classifier.steps // STEPS) + 8 * (classifier.steps % STEPS)


# Divergence


class Poisoned(ImageDataModule):
    """Data module whose images are NaN in one step."""

    bad = 0

    def chunks(self, block: Block, epoch: int, memory: Any = None) -> Iterator[tuple[int, Iterable[Tensor], Tensor]]:
        for first, images, labels in super().chunks(block, epoch, memory):
            numbered = enumerate(images, epoch * STEPS + first + 1)
            yield first, (batch * (nan if step == self.bad else 1) for step, batch in numbered), labels


@pytest.mark.parametrize(("bad", "length"), [(1, STEPS), (8, 4), (8, STEPS), (STEPS, 4), (STEPS + 3, 1)])
def test_divergence_names_its_first_step(tiny_root: Path, trainer: MakeTrainer, bad: int, length: int) -> None:
    datamodule = Poisoned("mnist", str(tiny_root), val_size=50, batch_size=8)
    datamodule.bad = bad
    with pytest.raises(DivergedError, match=rf"train/loss of step {bad} is nan: .* optimizer\.lr=0\.001"):
        _fitted(trainer, datamodule, length)
