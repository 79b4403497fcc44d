import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from torch import Tensor, optim

from mlplab import step, updates
from mlplab.aids import mixup
from mlplab.aids.averaging import make_average
from mlplab.augment import Distortion
from mlplab.mlp import MLP
from mlplab.step import CompilationError, Recipe

pytestmark = pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")

BATCH = 8
DISTORTION = Distortion(1, 0.5, 15.0, (0.8, 1.2), 10.0, elastic_alpha=3.0, elastic_sigma=1.5)


class Training:
    """A tiny network with dropout, its optimizer, and 40 random images to distort."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.mlp = MLP([6, 5], dropout=0.3, image_shape=(1, 4, 4), num_classes=3)
        self.optimizer = optim.Adam(self.mlp.parameters())
        self.images = torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8)
        self.labels = torch.randint(0, 3, (40,))
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.recipe = Recipe(self.mlp, self.optimizer, lambda images: images / 255, "unit", DISTORTION, clip_norm=0.5)

    def tensors(self, number: int) -> list[Tensor]:
        rule, group = updates.RULES[optim.Adam], self.optimizer.param_groups[0]
        rows = torch.arange(BATCH) + number % 32
        numbers = torch.tensor(rule.numbers(group, number + 1))
        weights = list(self.mlp.parameters())
        buffers = [buffer for weight in weights for buffer in updates.state(self.optimizer, weight)]
        seeds = torch.tensor([number * 40_503_001 % 2**31, number], dtype=torch.int32)
        return [
            self.images,
            self.labels,
            rows,
            numbers,
            seeds,
            self.sums,
            *(weight.detach() for weight in weights),
            *buffers,
        ]


class Aided(Training):
    """The same with all that a step can do beside it."""

    def __init__(self) -> None:
        super().__init__()
        drawing = {"dropout": 0.3, "input_dropout": 0.1, "input_noise": 0.2, "hidden_noise": 0.1}
        self.mlp = MLP([6, 5], image_shape=(1, 4, 4), num_classes=3, batch_norm=True, **drawing)
        self.optimizer = optim.Adam(self.mlp.parameters())
        self.average = make_average(self.mlp, {"name": "ema", "decay": 0.9, "start": 0.5})
        aids = {"label_smoothing": 0.1, "max_norm": 0.4, "mixes": True, "ema_decay": 0.9}
        self.recipe = dataclasses.replace(self.recipe, mlp=self.mlp, optimizer=self.optimizer, **aids)

    def tensors(self, number: int) -> list[Tensor]:
        count = len(list(self.mlp.parameters()))
        *inputs, sums = (tensors := super().tensors(number))[:6]
        weights, buffers = tensors[6 : 6 + count], tensors[6 + count :]
        share, partners = mixup.draw(BATCH, 0.5, number)
        average = self.average
        assert average is not None
        mixture = [torch.tensor(share), torch.from_numpy(partners)]
        averages = [average.n_averaged, *average.module.parameters(), *average.module.buffers()]
        return [*inputs, *mixture, sums, *weights, *self.mlp.buffers(), *buffers, *averages]


@pytest.fixture(scope="session")
def steps_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the compiled step lies, compiled once for all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "cache"
    training = Training()
    with FileLock(f"{shared}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared))
        step.compiled(training.recipe, training.tensors(0))
    return shared


@pytest.fixture
def kept(steps_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The compiled step, in a cache of this test."""
    shutil.copytree(steps_folder, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (package,) = step.cache_folder().iterdir()
    return package


def _must_not_compile(*_: object) -> None:
    raise AssertionError("compiled again")


def test_the_compiled_step_is_the_step(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With distorted images, dropout, clipping and a last look at the sums; found in the cache, not compiled again."""
    monkeypatch.setattr(step, "_compile", _must_not_compile)
    by_graph, by_hand = Training(), Training()
    compiled = step.compiled(by_graph.recipe, by_graph.tensors(0))
    for number in range(200):
        compiled(by_graph.tensors(number))
        step.step(by_hand.recipe, by_hand.tensors(number))
    for found, expected in zip(by_graph.tensors(200), by_hand.tensors(200), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert by_graph.sums[2] == 200 * BATCH
    assert not torch.equal(by_graph.mlp.linear1.weight, Training().mlp.linear1.weight)


def test_a_compiled_step_with_all_aids_is_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which the average and the running statistics of batch norm are a part."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    by_graph, by_hand = Aided(), Aided()
    compiled = step.compiled(by_graph.recipe, by_graph.tensors(0))
    for number in range(100):
        compiled(by_graph.tensors(number))
        step.step(by_hand.recipe, by_hand.tensors(number))
    for found, expected in zip(by_graph.tensors(0), by_hand.tensors(0), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert by_graph.mlp.linear1.weight.norm(dim=1).max() < 0.4 + 1e-6
    assert int(by_graph.mlp.batch_norm1.num_batches_tracked) == 100


def test_a_damaged_file_is_compiled_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = kept.read_bytes()
    kept.write_bytes(good[: len(good) // 2])
    monkeypatch.setattr(step, "_compile", lambda recipe, tensors, package: package.write_bytes(good))
    training = Training()
    before = training.mlp.linear1.weight.clone()
    step.compiled(training.recipe, training.tensors(0))(training.tensors(0))
    assert not torch.equal(training.mlp.linear1.weight, before)


@pytest.mark.parametrize(
    "change",
    [
        {"normalization": "other"},
        {"distortion": dataclasses.replace(DISTORTION, elastic_sigma=1.6)},
        {"bfloat16": True},
        {"clip_norm": 0.6},
        {"clip_value": 0.5},
        {"label_smoothing": 0.1},
        {"max_norm": 3.0},
        {"mixes": True},
        {"ema_decay": 0.9},
        {"mlp": MLP([6, 5], dropout=0.4, image_shape=(1, 4, 4), num_classes=3)},
        {"mlp": MLP([6, 5], dropout=0.3, image_shape=(1, 4, 4), num_classes=3, input_noise=0.1)},
    ],
)
def test_another_step_is_not_taken_for_it(kept: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    monkeypatch.setattr(step, "_compile", _must_not_compile)
    with pytest.raises(CompilationError, match="compiled again"):
        step.compiled(dataclasses.replace(training.recipe, **change), training.tensors(0))


def _other_constants(training: Training, patch: pytest.MonkeyPatch) -> None:
    training.optimizer.param_groups[0]["eps"] = 1.0


def _other_class(training: Training, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step, "type", lambda _: optim.AdamW, raising=False)


def _other_processor(training: Training, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step, "_processor", lambda: "another")


def _other_source(training: Training, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step, "SOURCES", (*step.SOURCES, "errors.py"))


def _other_torch(training: Training, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "__version__", "0")


def _other_threads(training: Training, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "get_num_threads", lambda: 7)


def _other_rate(training: Training, patch: pytest.MonkeyPatch) -> None:
    training.optimizer.param_groups[0]["lr"] = 0.5


def _other_values(training: Training, patch: pytest.MonkeyPatch) -> None:
    training.images.zero_()


@pytest.mark.parametrize(
    ("change", "the_same"),
    [
        (_other_constants, False),
        (_other_class, False),
        (_other_processor, False),
        (_other_source, False),
        (_other_torch, False),
        (_other_threads, False),
        (_other_rate, True),
        (_other_values, True),
    ],
)
def test_what_a_compiled_step_depends_on(
    change: Callable[[Training, pytest.MonkeyPatch], None], the_same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training()
    before = step._package(training.recipe, training.tensors(0))
    change(training, monkeypatch)
    assert (step._package(training.recipe, training.tensors(0)) == before) == the_same


def test_a_damaged_file_that_cannot_be_deleted_is_no_obstacle(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cache that belongs to somebody else."""
    kept.write_bytes(b"damaged")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    training = Training()
    with pytest.raises(CompilationError, match="compiling failed: not yours"):
        step.compiled(training.recipe, training.tensors(0))


def test_without_a_compiler_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    training = Training()
    with pytest.raises(CompilationError, match=r"no C\+\+ compiler"):
        step.compiled(training.recipe, training.tensors(0))


def test_a_failed_compilation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "mlplab").write_text("a file where the folder should be")
    training = Training()
    weights = [weight.clone() for weight in training.mlp.parameters()]
    with caplog.at_level(logging.INFO), pytest.raises(CompilationError, match=r"compiling failed: .*mlplab"):
        step.compiled(training.recipe, training.tensors(0))
    assert all(torch.equal(*pair) for pair in zip(weights, training.mlp.parameters(), strict=True))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    ones = torch.ones(1000, 1000)
    dropped = step.dropout(ones, rate, torch.tensor(7, dtype=torch.int32), place=3)
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(rate, abs=5 * (rate * (1 - rate) / 1e6) ** 0.5)
    assert dropped[dropped > 0].unique().tolist() == pytest.approx([1 / (1 - rate)])


def test_dropout_of_another_seed_place_row_or_column_is_another() -> None:
    """Two independent masks at one half agree in one half of the units."""
    ones = torch.ones(512, 512)

    def mask(seed: int, place: int) -> Tensor:
        return step.dropout(ones, 0.5, torch.tensor(seed, dtype=torch.int32), place) > 0

    one = mask(1, 2)
    assert torch.equal(one, mask(1, 2))
    others = [mask(2, 2), mask(1, 5), mask(-(2**31), 2), one.roll(1, 0), one.roll(1, 1), one.roll(7, 1), one.T]
    for other in others:
        assert (one == other).float().mean().item() == pytest.approx(0.5, abs=5 * 0.5 / 512)
    for direction in (0, 1):  # no row or column is dropped more than chance allows
        shares = one.float().mean(dim=direction)
        assert (shares - 0.5).abs().max() < 5 * 0.5 / 512**0.5
