import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import torch
from conftest import Compose, MakeTrainer
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor

from mlplab import blocks, obstacles
from mlplab.blocks import CompiledSteps
from mlplab.classifier import Classifier
from mlplab.datamodule import ImageDataModule
from mlplab.errors import DivergedError
from mlplab.step import CompilationError, Recipe, step
from mlplab.training import train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory

ADAM = {"name": "Adam", "lr": 2e-4}
SGD = {"name": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True}
RMSPROP = {"name": "RMSprop", "lr": 2e-4}


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step itself: that its compilation does the same is for test_step.py to show."""

    def compiled(recipe: Recipe, tensors: Sequence[Tensor]) -> Callable[[list[Tensor]], None]:
        return lambda tensors: step(recipe, tensors)

    monkeypatch.setattr(blocks, "compiled", compiled)


@pytest.fixture
def datamodule(tiny_root: Path) -> ImageDataModule:
    """Epochs of 19 batches, the last of which has 6 images, not 8."""
    datamodule = ImageDataModule("mnist", str(tiny_root), val_size=50, batch_size=8)
    datamodule.setup()
    return datamodule


class Curves(Logger):
    """Remembers every point of every curve."""

    name, version = "curves", 0

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int | None, str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.points += [(step, name, value) for name, value in sorted(metrics.items())]

    def log_hyperparams(self, *_: Any) -> None: ...


class Trained:
    """A classifier after a run, one way or the other, and what was noted of the run."""

    def __init__(
        self,
        make: MakeTrainer,
        datamodule: ImageDataModule,
        when: bool,
        flags: dict[str, Any],
        arguments: dict[str, Any],
        resume: Path | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.classifier = Classifier([16], **arguments)
        self.curves, self.steps = Curves(), CompiledSteps(when)
        flags = {"callbacks": [self.steps], "logger": self.curves, "log_every_n_steps": 1, **flags}
        self.trainer = make(**flags)
        self.trainer.fit(self.classifier, datamodule=datamodule, ckpt_path=resume, weights_only=True)

    @property
    def loops(self) -> dict[str, Any]:
        """All that Lightning counts."""
        state: dict[str, Any] = self.trainer.fit_loop.state_dict()
        return state


def _distance(one: Trained, other: Trained) -> float:
    """Of the weights, relative to their norm."""
    pairs = zip(one.classifier.parameters(), other.classifier.parameters(), strict=True)
    return max(((a - b).norm() / b.norm()).item() for a, b in pairs)


def _same(one: Trained, other: Trained, tolerance: float = 1e-5) -> None:
    assert one.steps.used
    assert not other.steps.used
    assert _distance(one, other) < tolerance
    assert one.trainer.global_step == other.trainer.global_step
    assert one.classifier.images_seen == other.classifier.images_seen
    assert one.loops == other.loops
    assert [point[:2] for point in one.curves.points] == [point[:2] for point in other.curves.points]
    values = [[point[2] for point in run.curves.points] for run in (one, other)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    for ours, theirs in zip(one.classifier.history, other.classifier.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    rates = [run.trainer.optimizers[0].param_groups[0]["lr"] for run in (one, other)]
    assert rates[0] == pytest.approx(rates[1])


COSINE = {"name": "CosineAnnealingLR", "interval": "step"}
PLATEAU = {"name": "ReduceLROnPlateau", "interval": "epoch", "patience": 0, "threshold": 0.5}


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        ({}, {"optimizer": ADAM}),
        ({}, {"optimizer": {"name": "AdamW", "lr": 2e-4, "weight_decay": 0.1}}),
        ({}, {"optimizer": RMSPROP}),
        ({}, {"optimizer": SGD}),
        ({}, {"optimizer": SGD, "scheduler": COSINE}),
        ({}, {"optimizer": ADAM, "scheduler": {"name": "OneCycleLR", "interval": "step"}}),  # moves beta1 as well
        ({}, {"optimizer": SGD, "scheduler": {"name": "StepLR", "interval": "epoch", "step_size": 2}}),
        ({}, {"optimizer": SGD, "scheduler": {"name": "StepLR", "interval": "step", "step_size": 7}}),
        ({}, {"optimizer": SGD, "scheduler": PLATEAU}),
        ({"gradient_clip_val": 0.3}, {"optimizer": SGD}),
        ({"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}, {"optimizer": SGD}),
        ({"val_check_interval": 3}, {"optimizer": SGD}),
        ({"val_check_interval": 0.5}, {"optimizer": SGD}),
        ({"val_check_interval": 7, "check_val_every_n_epoch": None}, {"optimizer": SGD}),
        ({"check_val_every_n_epoch": 3}, {"optimizer": SGD}),
        ({"limit_train_batches": 4}, {"optimizer": SGD}),
        ({"limit_train_batches": 0.5}, {"optimizer": SGD, "scheduler": COSINE}),
        ({"max_steps": 33}, {"optimizer": SGD, "scheduler": COSINE}),
        ({"limit_val_batches": 0}, {"optimizer": SGD}),
        ({"precision": 32}, {"optimizer": ADAM}),
    ],
)
def test_both_ways_lead_to_the_same(
    datamodule: ImageDataModule, trainer: MakeTrainer, flags: dict[str, Any], arguments: dict[str, Any]
) -> None:
    flags = {"max_epochs": 11, **flags}  # 209 steps
    one, other = (Trained(trainer, datamodule, when, dict(flags), arguments) for when in (True, False))
    _same(one, other)


@pytest.mark.parametrize(
    "augment", [{"shift": 2, "flip": 0.5}, {"rotation": 15.0, "scale": (0.9, 1.1), "shear": 5.0, "elastic_alpha": 34.0}]
)
def test_both_ways_distort_alike(tiny_root: Path, trainer: MakeTrainer, augment: dict[str, Any]) -> None:
    runs = []
    for when in (True, False):
        datamodule = ImageDataModule("mnist", str(tiny_root), val_size=50, batch_size=8, augment=augment)
        runs.append(Trained(trainer, datamodule, when, {"max_epochs": 6}, {"optimizer": SGD}))
    _same(*runs)
    datamodule = ImageDataModule("mnist", str(tiny_root), val_size=50, batch_size=8)
    plain = Trained(trainer, datamodule, False, {"max_epochs": 6}, {"optimizer": SGD})
    assert _distance(runs[0], plain) > 0.01


@pytest.mark.parametrize("block_s", [0, 1e9])  # one step in each block, and after the first ten a whole epoch
def test_how_many_steps_a_block_takes_does_not_matter(
    datamodule: ImageDataModule, trainer: MakeTrainer, block_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"optimizer": SGD, "scheduler": COSINE, "dropout": 0.3}
    first = Trained(trainer, datamodule, True, {"max_epochs": 4}, arguments)
    monkeypatch.setattr(blocks, "BLOCK_S", block_s)
    second = Trained(trainer, datamodule, True, {"max_epochs": 4}, arguments)
    assert _distance(first, second) == 0
    assert first.loops == second.loops


def test_early_stopping(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    def flags(when: bool) -> dict[str, Any]:
        return {"max_epochs": 30, "callbacks": [CompiledSteps(when), EarlyStopping("val/loss", 0.02, patience=2)]}

    runs = []
    for when in (True, False):
        chosen = flags(when)
        run = Trained(trainer, datamodule, when, chosen, {"optimizer": ADAM})
        run.steps = chosen["callbacks"][0]
        runs.append(run)
    _same(*runs)
    assert 3 < len(runs[0].classifier.history) < 30


def test_dropout_learns_as_well(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    """The two ways draw other numbers of the same distribution: their means agree as those of other seeds would."""

    def run(when: bool, seed: int) -> Trained:
        return Trained(trainer, datamodule, when, {"max_epochs": 5}, {"optimizer": ADAM, "dropout": 0.5, "seed": seed})

    runs = {when: [run(when, seed) for seed in range(6)] for when in (True, False)}
    losses = {when: [run.classifier.history[-1]["train/loss"] for run in made] for when, made in runs.items()}
    spread = max(stdev(values) for values in losses.values())
    assert 0 < spread < 0.1 * mean(losses[False])
    assert abs(mean(losses[True]) - mean(losses[False])) < 4 * spread * (2 / 6) ** 0.5
    assert 0 < _distance(runs[True][0], runs[False][0]) < 1
    assert _distance(runs[True][0], run(True, 0)) == 0


def test_a_checkpoint_by_steps_is_written_at_those_steps(
    datamodule: ImageDataModule, trainer: MakeTrainer, tmp_path: Path
) -> None:
    saved = []
    for when in (True, False):
        kept = ModelCheckpoint(tmp_path / str(when), "{step}", save_top_k=-1, every_n_train_steps=7)
        flags = {"max_epochs": 2, "enable_checkpointing": True, "callbacks": [CompiledSteps(when), kept]}
        Trained(trainer, datamodule, when, flags, {"optimizer": ADAM})
        saved.append({path.name for path in (tmp_path / str(when)).iterdir()})
    assert saved[0] == saved[1] == {f"step={step}.ckpt" for step in range(7, 38, 7)}


def test_bfloat16(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    flags = {"max_epochs": 5, "precision": "bf16-mixed"}
    one, other = (Trained(trainer, datamodule, when, dict(flags), {"optimizer": SGD}) for when in (True, False))
    exact = Trained(trainer, datamodule, True, {"max_epochs": 5}, {"optimizer": SGD})
    assert one.steps.used
    assert 0 < _distance(one, exact) < 0.1
    assert _distance(one, other) < 0.1
    assert next(one.classifier.parameters()).dtype == torch.float32


@pytest.mark.parametrize("arguments", [{"optimizer": ADAM}, {"optimizer": SGD, "scheduler": COSINE}])
@pytest.mark.parametrize("first", [True, False])
def test_a_checkpoint_of_one_way_goes_on_the_other_way(
    datamodule: ImageDataModule, trainer: MakeTrainer, arguments: dict[str, Any], first: bool, tmp_path: Path
) -> None:
    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, *_: object) -> None:
            if trainer.current_epoch == 4:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    steps = CompiledSteps(first)
    whole = Trained(trainer, datamodule, first, {"max_epochs": 10, "callbacks": [steps, Save()]}, arguments)
    resumed = Trained(trainer, datamodule, not first, {"max_epochs": 10}, arguments, tmp_path / "middle.ckpt")
    assert _distance(resumed, whole) < 1e-5
    assert resumed.trainer.global_step == whole.trainer.global_step == 190
    state, expected = (run.trainer.optimizers[0].state_dict()["state"] for run in (resumed, whole))
    torch.testing.assert_close(state, expected, rtol=1e-3, atol=1e-5)


class Hooked(Callback):
    def on_before_optimizer_step(self, *_: object) -> None: ...


class Counting(Callback):
    def on_train_batch_end(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("flags", "arguments", "reason"),
    [
        ({}, {"optimizer": {"name": "Adagrad", "lr": 0.1}}, "not written for Adagrad"),
        ({}, {"optimizer": {**ADAM, "amsgrad": True}}, "amsgrad"),
        ({}, {"optimizer": ADAM, "activation": "RReLU"}, "RReLU"),
        ({"accumulate_grad_batches": 2}, {"optimizer": ADAM}, "several batches"),
        ({"precision": "64-true"}, {"optimizer": ADAM}, "precision 64-true"),
        ({"callbacks": [CompiledSteps(True), Hooked()]}, {"optimizer": ADAM}, "Hooked.on_before_optimizer_step"),
        ({"callbacks": [CompiledSteps(True), Counting()]}, {"optimizer": ADAM}, "Counting.on_train_batch_end"),
        (
            {"callbacks": [CompiledSteps(True), GradientAccumulationScheduler({1: 2})]},
            {"optimizer": ADAM},
            "several batches",
        ),
    ],
)
def test_what_is_not_possible_takes_the_ordinary_way_and_says_so_once(
    datamodule: ImageDataModule,
    trainer: MakeTrainer,
    flags: dict[str, Any],
    arguments: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        run = Trained(trainer, datamodule, True, {"max_epochs": 2, **flags}, arguments)
    assert not any(steps.used for steps in run.trainer.callbacks if isinstance(steps, CompiledSteps))
    assert len(run.classifier.history) == 2
    (said,) = (record.message for record in caplog.records if "without the compiled step" in record.message)
    assert reason in said


def test_a_machine_that_cannot_compile(
    datamodule: ImageDataModule, trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise CompilationError("there is no C++ compiler")

    monkeypatch.setattr(blocks, "compiled", fail)
    with caplog.at_level(logging.INFO):
        run = Trained(trainer, datamodule, True, {"max_epochs": 2}, {"optimizer": ADAM})
    assert "there is no C++ compiler" in caplog.text
    plain = Trained(trainer, datamodule, False, {"max_epochs": 2}, {"optimizer": ADAM})
    assert _distance(run, plain) == 0


@pytest.mark.parametrize(("compiling_s", "used"), [(0.0071, True), (0.0073, False)])
def test_a_long_run_is_compiled_by_itself(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiling_s: float, used: bool
) -> None:
    monkeypatch.setattr(blocks, "COMPILING_S", compiling_s)
    config = tiny("data.batch_size=32", "data.val_size=50")  # 2 epochs of 5 steps; 12,730 weights
    result = train(config, tmp_path)
    assert f'"compiled": {str(used).lower()}' in (result.folder / "result.json").read_text()


@pytest.mark.parametrize("when", [True, False])
@pytest.mark.parametrize("scheduler", [None, COSINE, {"name": "StepLR", "interval": "step", "step_size": 3}])
def test_divergence_stops_at_its_step_with_the_weights_before_it(
    datamodule: ImageDataModule, trainer: MakeTrainer, when: bool, scheduler: dict[str, Any] | None
) -> None:
    """One image, of the 13th batch, has no value."""
    rows = datamodule.epoch_rows(0)

    datamodule._loaded.train_images[rows[12 * 8 + 3]] = 255
    arguments: dict[str, Any] = {"optimizer": SGD, "scheduler": scheduler}
    before = Trained(trainer, datamodule, when, {"max_epochs": 1, "max_steps": 12}, arguments)
    assert before.trainer.global_step == 12
    normalized = ImageDataModule.normalized

    def poisoned(self: ImageDataModule, images: Tensor) -> Tensor:
        bright = (images == 255).flatten(1).all(dim=1).view(-1, 1, 1, 1)
        return torch.where(bright, torch.nan, normalized(self, images))

    torch.manual_seed(0)
    classifier, steps = Classifier([16], **arguments), CompiledSteps(when)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageDataModule, "normalized", poisoned)
        patch.setitem(obstacles.OWN_WAY, ImageDataModule, ())
        with pytest.raises(DivergedError, match=r"train/loss of step 13 is nan: .* optimizer\.lr="):
            trainer(max_epochs=1, callbacks=[steps]).fit(classifier, datamodule=datamodule)
    assert steps.used == when
    for found, expected in zip(classifier.parameters(), before.classifier.parameters(), strict=True):
        if scheduler is COSINE:  # spans the run, which was shorter
            assert found.isfinite().all()
        else:
            torch.testing.assert_close(found, expected)


def test_the_next_fit_of_a_trainer_starts_anew(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    run = Trained(trainer, datamodule, True, {"max_epochs": 1}, {"optimizer": ADAM})
    loop = run.trainer.fit_loop.epoch_loop
    assert type(loop.automatic_optimization).__name__ == "_AutomaticOptimization"


class Halved(ImageDataModule):
    def normalized(self, images: Tensor) -> Tensor:
        return super().normalized(images) / 2


def test_a_subclass_that_prepares_images_otherwise_trains_the_ordinary_way(
    tiny_root: Path, trainer: MakeTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        halved = Halved("mnist", str(tiny_root), val_size=50)
        run = Trained(trainer, halved, True, {"max_epochs": 1}, {"optimizer": ADAM})
    assert not run.steps.used
    assert "Halved.normalized is not that of mlplab" in caplog.text


def test_frozen_weights_stay(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    classifier = Classifier([16], optimizer=ADAM)
    classifier.mlp.linear1.requires_grad_(False)
    before = classifier.mlp.linear1.weight.clone()
    trainer(max_epochs=1, callbacks=[CompiledSteps(True)]).fit(classifier, datamodule=datamodule)
    assert torch.equal(classifier.mlp.linear1.weight, before)
