"""What helps training: each against its formula, in both ways of training, and over a kill."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import states
import torch
from conftest import PROJECT, Compose, MakeTrainer
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf
from test_saving import _killed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mlplab import blocks, checkpoint_io, checkpoints, evaluation, run_folder
from mlplab.aids import mixup
from mlplab.aids.averaging import make_average
from mlplab.aids.batch_statistics import renew
from mlplab.aids.max_norm import limit, limited_weights
from mlplab.blocks import CompiledSteps
from mlplab.classifier import Classifier
from mlplab.command.composed import plain
from mlplab.command.resume import earlier
from mlplab.config import AIDS as AIDS_BY_KEY
from mlplab.datamodule import ImageDataModule
from mlplab.errors import ConfigError, DivergedError
from mlplab.mlp import MLP, GaussianNoise
from mlplab.randomness import Purpose, derive_many
from mlplab.step import Recipe, step
from mlplab.training import train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory

SGD = {"name": "SGD", "lr": 0.01, "momentum": 0.9}
# Under batch norm a pixel that is the same in all images has no gradient but rounding errors, of which Adam makes full
# steps if `eps` is as small as its own.
ADAM = {"name": "Adam", "lr": 2e-4, "eps": 1e-4}


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step itself, in small blocks: that its compilation does the same is for test_step.py to show."""

    def compiled(recipe: Recipe, tensors: Sequence[Tensor]) -> Callable[[list[Tensor]], None]:
        return lambda tensors: step(recipe, tensors)

    monkeypatch.setattr(blocks, "compiled", compiled)
    monkeypatch.setattr(blocks, "BLOCK_S", 0.005)


@pytest.fixture
def datamodule(tiny_root: Path) -> ImageDataModule:
    """Epochs of 19 batches, the last of which has 6 images, not 8."""
    datamodule = ImageDataModule("mnist", str(tiny_root), val_size=50, batch_size=8)
    datamodule.setup()
    return datamodule


class Noted(Callback):
    """Weights after each batch, and those that validate."""

    def __init__(self) -> None:
        self.after_batch: list[dict[str, Tensor]] = []
        self.in_validation: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: object) -> None:
        self.after_batch.append(_copy(pl_module.mlp))

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if pl_module.average is not None:
            self.in_validation.append(_copy(pl_module.average.module))


Noted.__module__ = "mlplab.tests"  # content with blocks


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _trained(
    make: MakeTrainer,
    datamodule: ImageDataModule,
    compiled: bool = False,
    noted: Noted | None = None,
    flags: dict[str, Any] | None = None,
    **arguments: Any,
) -> Classifier:
    torch.manual_seed(0)
    classifier, steps = Classifier([16, 12], **{"optimizer": SGD, **arguments}), CompiledSteps(compiled)
    callbacks = [steps] if noted is None else [steps, noted]
    make(**{"max_epochs": 4, "callbacks": callbacks, **(flags or {})}).fit(classifier, datamodule=datamodule)
    assert steps.used == compiled
    return classifier


def _assert_same(one: Classifier, other: Classifier, tolerance: float = 1e-5) -> None:
    assert one.state_dict().keys() == other.state_dict().keys()
    for (name, found), expected in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if found.is_floating_point():
            assert (found - expected).norm() <= tolerance * expected.norm() + 1e-7, name
        else:
            assert torch.equal(found, expected), name
    for ours, theirs in zip(one.history, other.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


# What draws nothing, or the same in both ways.
ALIKE: dict[str, dict[str, Any]] = {
    "max_norm": {"max_norm": 0.5},
    "batch_norm": {"batch_norm": True},
    "batch_norm, decay": {"batch_norm": True, "optimizer": {**ADAM, "name": "AdamW", "weight_decay": 0.1}},
    "label_smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixup": 0.4},
    "mixup, label_smoothing": {"mixup": 1.0, "label_smoothing": 0.1},
    "ema": {"averaging": {"name": "ema", "decay": 0.9}, "batch_norm": True},
    "swa": {"averaging": {"name": "swa", "start": 0.25}},
    "swa, batch_norm": {"averaging": {"name": "swa", "start": 0.25}, "batch_norm": True},
    "warmup": {"scheduler": {"name": None, "warmup": 31}},
    "warmup, cosine": {"scheduler": {"name": "CosineAnnealingLR", "interval": "step", "warmup": 7}},
    "all": {
        "max_norm": 0.7,
        "batch_norm": True,
        "label_smoothing": 0.1,
        "mixup": 0.4,
        "averaging": {"name": "ema", "decay": 0.99},
        "scheduler": {"name": "CosineAnnealingLR", "interval": "step", "warmup": 7},
    },
}


@pytest.mark.parametrize("arguments", ALIKE.values(), ids=ALIKE)
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["SGD", "Adam"])
def test_both_ways_lead_to_the_same(
    datamodule: ImageDataModule, trainer: MakeTrainer, optimizer: dict[str, Any], arguments: dict[str, Any]
) -> None:
    one, other = (
        _trained(trainer, datamodule, when, **{"optimizer": optimizer, **arguments}) for when in (True, False)
    )
    _assert_same(one, other)
    plain = _trained(trainer, datamodule, optimizer=arguments.get("optimizer", optimizer))
    logits = [classifier.eval()(_images(datamodule)) for classifier in (one, plain)]
    assert not torch.allclose(*logits)


def _images(datamodule: ImageDataModule, split: str = "val") -> Tensor:
    return torch.cat([images for images, _ in datamodule.batches(split)])


@pytest.mark.parametrize(
    "arguments",
    [{"input_noise": 0.3}, {"hidden_noise": 0.3, "batch_norm": True}, {"input_dropout": 0.2}],
    ids=["input_noise", "hidden_noise", "input_dropout"],
)
def test_what_draws_is_a_function_of_the_seed(
    datamodule: ImageDataModule, trainer: MakeTrainer, arguments: dict[str, Any]
) -> None:
    """The two ways draw other numbers, and learn much the same."""
    losses = []
    for when in (True, False):
        one, same = (_trained(trainer, datamodule, when, **arguments) for _ in range(2))
        other = _trained(trainer, datamodule, when, seed=1, **arguments)
        _assert_same(one, same, 0)
        assert not torch.equal(one.mlp.logits.weight, other.mlp.logits.weight)
        losses += [run.history[0]["train/loss"] for run in (one, other)]
    assert max(losses) < 1.2 * min(losses)


AIDS = {
    "all that draw": (
        *("model.batch_norm=true", "model.input_dropout=0.1", "model.input_noise=0.1", "model.hidden_noise=0.1"),
        *("model.dropout=0.2", "aids.mixup=0.4", "aids.max_norm=2", "aids.label_smoothing=0.1"),
    ),
    "ema, warmup": ("averaging=ema", "averaging.decay=0.8", "model.batch_norm=true", "scheduler.warmup=11"),
    "swa": ("averaging=swa", "averaging.start=0.25", "aids.mixup=1.0"),
    "swa, batch_norm": (
        *("averaging=swa", "averaging.start=0.25", "model.batch_norm=true", "model.dropout=0.3"),
        *("scheduler=cosine", "scheduler.warmup=9"),
    ),
    "swa, no validation": ("averaging=swa", "averaging.start=0.5", "data.val_size=0"),
}


@pytest.mark.parametrize("compiled", ["true", "false"])
@pytest.mark.parametrize("kind", AIDS)
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    tiny: Compose, tmp_path: Path, kind: str, compiled: str
) -> None:
    config = tiny("trainer.max_epochs=4", *AIDS[kind], f"compile={compiled}", "checkpoints.every_n_steps=3")
    whole = train(config, tmp_path / "whole")
    killed = 0
    assert f'"compiled": {compiled}' in (whole.folder / "result.json").read_text()
    for hook, calls in [("on_train_batch_end", 13), ("on_train_epoch_end", 2), ("on_train_batch_start", 17)]:
        folder = tmp_path / f"{hook} {calls}"
        if not _killed(config, folder, hook, calls):
            continue  # in blocks there are fewer
        killed += 1
        resumed = train(config, folder, resume=True)
        assert states.differences(states.of(folder), states.of(whole.folder)) == [], hook
        assert resumed.metrics == whole.metrics
    assert killed >= (1 if compiled == "true" else 3)
    for name in ("best", "last"):
        content = torch.load(run_folder.checkpoint(whole.folder, name), weights_only=True)
        assert content["hyper_parameters"]["batch_norm"] == config.model.batch_norm


@pytest.mark.parametrize("kind", AIDS)
def test_what_is_rebuilt_scores_what_the_run_scored(tiny: Compose, tmp_path: Path, kind: str) -> None:
    result = train(tiny(*AIDS[kind]), tmp_path)
    classifier, datamodule = checkpoints.load(tmp_path)
    datamodule.setup()
    score = evaluation.score(classifier, datamodule.batches("test"))
    assert score.acc == result.metrics["test/acc"]
    assert score.loss == pytest.approx(result.metrics["test/loss"], rel=1e-6)


def test_a_checkpoint_that_knows_no_aids_is_loaded_and_goes_on(tiny: Compose, tmp_path: Path) -> None:
    """As one of a version before them."""
    new = ("batch_norm", "input_dropout", "input_noise", "hidden_noise", "max_norm", "label_smoothing", "mixup")
    config = tiny("compile=false")
    whole = train(config, tmp_path / "whole")
    assert _killed(config, tmp_path / "killed", "on_train_epoch_end", 2)
    for path in (tmp_path / "killed" / "checkpoints").iterdir():
        content = checkpoint_io.read(path)
        for name in (*new, "averaging"):
            del content["hyper_parameters"][name]
        torch.save(content, path)
        checkpoints.load(path)
    assert train(config, tmp_path / "killed", resume=True).metrics == whole.metrics


def test_a_run_folder_that_knows_no_aids_is_gone_on_with(tmp_path: Path) -> None:
    """By the command that began it."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        composed = compose("config", ["hydra.run.dir=here"])
        mixed = compose("config", ["aids.mixup=0.2"])
    stored = plain(composed)
    for section in ("aids", "averaging"):
        del stored[section]
    for key in AIDS_BY_KEY:
        section, name = key.split(".")
        stored.get(section, {}).pop(name, None)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(stored))
    assert earlier(tmp_path, composed).changes == {}
    with pytest.raises(ConfigError, match=r"aids\.mixup: the run has None, the command 0\.2"):
        earlier(tmp_path, mixed)


@pytest.mark.parametrize("compiled", ["true", "false"])
def test_a_diverged_run_keeps_finite_weights(tiny: Compose, tmp_path: Path, compiled: str) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e15", "model.batch_norm=true", "averaging=ema", f"compile={compiled}")
    with pytest.raises(DivergedError):
        train(tiny(*words, "checkpoints.every_n_steps=1"), tmp_path)
    weights = checkpoint_io.read(run_folder.checkpoint(tmp_path, "last"))["state_dict"]
    assert all(weight.isfinite().all() for weight in weights.values())


# Max-norm


def test_norms_above_the_bound_come_down_to_it_and_keep_their_direction() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 7) * torch.tensor([0.1, 0.5, 2, 3, 0]).unsqueeze(1)
    before, norms = weight.clone(), weight.norm(dim=1)
    limit(weight, 2.5)
    for row, old, norm in zip(weight, before, norms, strict=True):
        torch.testing.assert_close(row, old if norm <= 2.5 else old * (2.5 / norm))
    assert (norms > 2.5).tolist() == [False, False, True, True, False]


@pytest.mark.parametrize("compiled", [True, False])
def test_max_norm_holds_hidden_units_after_each_step(
    datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool
) -> None:
    noted = Noted()
    classifier = _trained(trainer, datamodule, compiled, noted, max_norm=0.3)
    assert limited_weights(classifier.mlp) == [True, False, True, False, False, False]
    for weights in noted.after_batch:
        assert weights["linear1.weight"].norm(dim=1).max() <= 0.3 + 1e-6
        assert weights["linear2.weight"].norm(dim=1).max() <= 0.3 + 1e-6
    assert classifier.mlp.logits.weight.norm(dim=1).min() > 0.3


# Batch norm


@pytest.mark.parametrize("compiled", [True, False])
def test_batch_norm_is_that_of_a_plain_loop(datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool) -> None:
    """With a last batch of 6 images."""
    classifier = _trained(trainer, datamodule, compiled, flags={"max_epochs": 2}, batch_norm=True)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU()),
        *(nn.Linear(16, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU()),
        nn.Linear(12, 10),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images, labels = datamodule.training_data(torch.device("cpu"))
    for epoch in range(2):
        for rows in datamodule.epoch_rows(epoch).split(8):
            optimizer.zero_grad()
            F.cross_entropy(network(datamodule.normalized(images[rows])), labels[rows]).backward()
            optimizer.step()
    assert int(classifier.mlp.batch_norm1.num_batches_tracked) == 38
    for found, expected in zip(classifier.mlp.state_dict().values(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_batch_norm_in_other_precisions(datamodule: ImageDataModule, trainer: MakeTrainer, precision: str) -> None:
    exact = _trained(trainer, datamodule, batch_norm=True)
    torch.manual_seed(0)
    untrained = Classifier([16, 12], batch_norm=True)
    for compiled in (True, False) if precision == "bf16-mixed" else (False,):
        found = _trained(trainer, datamodule, compiled, flags={"precision": precision}, batch_norm=True)
        networks = (found.mlp, exact.mlp, untrained.mlp)
        for one, other, before in zip(*(network.parameters() for network in networks), strict=True):
            assert (one - other).norm() < 0.2 * (other - before).norm()


@pytest.mark.parametrize("words", [("data.batch_size=1",), ("data.val_size=4999", "data.batch_size=100")])
def test_batch_norm_refuses_a_batch_of_one(composed: Compose, words: Sequence[str]) -> None:
    with pytest.raises(ConfigError, match=r"^model\.batch_norm: a batch of one image has no variance"):
        composed("model.batch_norm=true", *words)
    composed("model.batch_norm=false", *words)


# Noise


def test_noise_has_its_deviation_and_is_off_in_evaluation() -> None:
    torch.manual_seed(0)
    noise, zeros = GaussianNoise(0.3), torch.zeros(1000, 100)
    drawn = noise(zeros)
    assert drawn.mean().item() == pytest.approx(0, abs=5 * 0.3 / 1e5**0.5)
    assert drawn.std().item() == pytest.approx(0.3, rel=5 / 2e5**0.5)
    assert torch.equal(noise.eval()(zeros), zeros)


def test_noise_lies_on_pixels_and_before_activations() -> None:
    arguments: dict[str, Any] = {"dropout": 0.5, "image_shape": (1, 2, 2)}
    full = MLP([4], **arguments, batch_norm=True, input_dropout=0.1, input_noise=0.2, hidden_noise=0.3)
    assert [name for name, _ in full.named_children()] == [
        *("flatten", "input_dropout", "input_noise"),
        *("linear1", "batch_norm1", "noise1", "affine1", "relu1", "dropout1", "logits"),
    ]
    assert (full.input_noise.std, full.noise1.std, full.input_dropout.p) == (0.2, 0.3, 0.1)
    assert "GaussianNoise(std=0.2)" in repr(full)  # the name of a compiled step depends on it
    assert [name for name, _ in MLP([4], **arguments).named_children()] == [
        *("flatten", "linear1", "relu1", "dropout1", "logits"),
    ]


NOISY = ("flatten", "linear1", "batch_norm1", "noise1", "affine1")


def test_a_larger_scale_does_not_drown_the_noise() -> None:
    """Its deviation is a share of that of what it is added to, whatever scale and shift are learned."""
    torch.manual_seed(0)
    mlp = MLP([3], image_shape=(1, 2, 2), batch_norm=True, hidden_noise=0.5)
    nn.init.uniform_(mlp.affine1.weight, 5, 10)
    nn.init.uniform_(mlp.affine1.bias, -5, 5)
    nn.init.uniform_(mlp.linear1.weight, 5, 10)
    before_activation = nn.Sequential(*(mlp.get_submodule(name) for name in NOISY))
    images = torch.rand(100_000, 1, 2, 2)
    noisy = before_activation.train()(images)
    mlp.noise1.eval()
    signal = before_activation(images)
    torch.testing.assert_close(
        (noisy - signal).std(dim=0) / signal.std(dim=0), torch.full((3,), 0.5), rtol=0.02, atol=0
    )
    assert sum(name.endswith("bias") for name, _ in mlp.named_parameters()) == 2  # of the hidden layer one


@pytest.mark.parametrize(
    "arguments", [{"input_dropout": 1.0}, {"input_noise": -1.0}, {"hidden_noise": -1.0}, {"input_dropout": -0.1}]
)
def test_impossible_noise_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MLP([4], **arguments)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("arguments", "penalty"),
    [({"input_noise": 0.5}, 0.25), ({"input_dropout": 0.2}, None)],
    ids=["input_noise", "input_dropout"],
)
def test_noise_on_pixels_is_a_penalty_on_the_loss(
    datamodule: ImageDataModule,
    trainer: MakeTrainer,
    arguments: dict[str, float],
    penalty: float | None,
    compiled: bool,
) -> None:
    """The mean loss of softmax regression, whose weights stay, by a quadratic approximation around the clean pixels.

    Noise of variance v adds v/2 tr(H) to it, H the Hessian by the pixels: sum of p_k |w_k - mean of w|^2 over k
    (Bishop 1995). A dropped pixel has variance x^2 r / (1 - r).
    """
    torch.manual_seed(0)
    classifier = Classifier([], optimizer={"name": "SGD", "lr": 1e-30}, **arguments)
    weight = classifier.mlp.logits.weight.detach().double()  # (K, pixels)
    steps = CompiledSteps(compiled)
    trainer(max_epochs=30, limit_val_batches=0, callbacks=[steps]).fit(classifier, datamodule=datamodule)
    x = _images(datamodule, "train").flatten(1).double()
    labels = torch.cat([labels for _, labels in datamodule.batches("train")])
    logits = x @ weight.T + classifier.mlp.logits.bias.detach().double()
    probabilities = logits.softmax(dim=1)  # (B, K)
    variance = torch.full_like(x, penalty) if penalty else x.square() * 0.2 / 0.8  # (B, pixels)
    hessian = probabilities @ weight.square() - (probabilities @ weight).square()  # (B, pixels), its diagonal
    added = 0.5 * (variance * hessian).sum(dim=1).mean().item()
    clean = F.cross_entropy(logits, labels).item()
    noisy = sum(epoch["train/loss"] for epoch in classifier.history) / 30
    assert added > 0.01 * clean
    assert noisy - clean == pytest.approx(added, rel=0.25)


# Label smoothing


@pytest.mark.parametrize("compiled", [True, False])
def test_label_smoothing_is_in_the_loss_of_training_alone(
    datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool
) -> None:
    still = {"name": "SGD", "lr": 1e-30}
    classifier = _trained(trainer, datamodule, compiled, flags={"max_epochs": 1}, optimizer=still, label_smoothing=0.2)
    (figures,) = classifier.history
    for split, smoothing in (("train", 0.2), ("val", 0.0)):
        labels = torch.cat([labels for _, labels in datamodule.batches(split)])
        log_probabilities = classifier(_images(datamodule, split)).log_softmax(dim=1)
        targets = (1 - smoothing) * F.one_hot(labels, 10) + smoothing / 10
        by_hand = -(targets * log_probabilities).sum(dim=1).mean().item()
        assert figures[f"{split}/loss"] == pytest.approx(by_hand, rel=1e-5)


# Mixup


@pytest.mark.parametrize("compiled", [True, False])
def test_mixup_is_the_weighted_sum_of_two_losses(
    datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool
) -> None:
    """Of an epoch of 19 batches, by hand; accuracy counts the label of the larger share."""
    classifier = _trained(
        trainer, datamodule, compiled, flags={"max_epochs": 1}, optimizer={"name": "SGD", "lr": 1e-30}, mixup=0.7
    )
    images, labels = datamodule.training_data(torch.device("cpu"))
    batches = datamodule.epoch_rows(0).split(8)
    loss = correct = 0.0
    for rows, seed in zip(batches, derive_many(len(batches), 0, Purpose.MIXUP, 0), strict=True):
        share, partners = mixup.draw(len(rows), 0.7, seed)
        x, y = datamodule.normalized(images[rows]), labels[rows]
        log_probabilities = classifier(share * x + (1 - share) * x[partners]).log_softmax(dim=1)
        targets = share * F.one_hot(y, 10) + (1 - share) * F.one_hot(y[partners], 10)
        loss -= (targets * log_probabilities).sum().item()
        correct += (log_probabilities.argmax(dim=1) == targets.argmax(dim=1)).sum().item()
    (figures,) = classifier.history
    assert figures["train/loss"] == pytest.approx(loss / 150, rel=1e-5)
    assert figures["train/acc"] == pytest.approx(correct / 150)


def test_shares_are_of_their_beta_distribution() -> None:
    drawn = [mixup.draw(4, 0.5, seed) for seed in range(4000)]
    shares = torch.tensor([share for share, _ in drawn])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / 8, rel=0.1)  # 1 / (4 (2 alpha + 1))
    assert {tuple(partners.tolist()) for _, partners in drawn} == set(_permutations(4))


def _permutations(size: int) -> Iterator[tuple[int, ...]]:
    return itertools.permutations(range(size))


# Averages


@pytest.mark.parametrize("compiled", [True, False])
def test_ema_is_its_recursion(
    datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_S", 0)  # one step in a block
    noted = Noted()
    arguments = {"averaging": {"name": "ema", "decay": 0.9}, "batch_norm": True}
    with _short_blocks():
        classifier = _trained(trainer, datamodule, compiled, noted, **arguments)
    assert len(noted.after_batch) == 4 * 19
    average = noted.after_batch[0]
    for number, weights in enumerate(noted.after_batch[1:], start=2):
        share = max(0.1, 1 / number)
        average = {
            name: (1 - share) * average[name] + share * value if value.is_floating_point() else value
            for name, value in weights.items()
        }
    assert classifier.average is not None
    torch.testing.assert_close(classifier.average.module.state_dict(), average, rtol=1e-4, atol=1e-6)
    assert int(classifier.average.n_averaged) == 4 * 19


@contextmanager
def _short_blocks() -> Iterator[None]:
    """From the first: a block of ten would show only its last weights."""
    length = blocks._Blocks._length
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks._Blocks, "_length", lambda self, first: min(1, length(self, first)))
        yield


@pytest.mark.parametrize("compiled", [True, False])
def test_swa_is_the_mean_of_the_weights_at_the_end_of_epochs(
    datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool
) -> None:
    noted = Noted()
    with _short_blocks():
        _trained(trainer, datamodule, compiled, noted, averaging={"name": "swa", "start": 0.25})
    ends = noted.after_batch[18::19]
    for epoch, found in enumerate(noted.in_validation):  # in the first epoch, the weights themselves
        counted = ends[1 : epoch + 1] if epoch else ends[:1]
        for name, value in found.items():
            torch.testing.assert_close(value, torch.stack([end[name] for end in counted]).mean(dim=0))
    assert len(noted.in_validation) == 4


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "aids",
    [
        {"averaging": {"name": "swa", "start": 0.5}},
        {"averaging": {"name": "swa", "start": 0.25}, "input_noise": 0.5},
        {"input_noise": 0.5, "input_dropout": 0.2},
        {"averaging": {"name": "ema", "decay": 0.9}, "input_noise": 0.5},
    ],
    ids=["swa", "swa, noise", "noise", "ema, noise"],
)
def test_what_is_evaluated_has_statistics_of_whole_images_under_its_weights(
    datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool, aids: dict[str, Any]
) -> None:
    classifier = _trained(trainer, datamodule, compiled, batch_norm=True, **aids)
    mean = _assert_statistics(classifier.evaluated, datamodule)
    if classifier.average is not None:
        assert not torch.allclose(classifier.mlp.batch_norm1.running_mean, mean, rtol=0.01)


def _assert_statistics(network: nn.Sequential, datamodule: ImageDataModule) -> Tensor:
    """Of the first batch norm: means over the batches of all images, by their sizes. Returns the running mean."""
    norm = network.get_submodule("batch_norm1")
    features = [network.get_submodule("linear1")(images.flatten(1)) for images, _ in datamodule.batches("train")]
    sizes = torch.tensor([[len(x)] for x in features])
    means, variances = torch.stack([x.mean(dim=0) for x in features]), torch.stack([x.var(dim=0) for x in features])
    mean = (sizes * means).sum(dim=0) / sizes.sum()
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, (sizes * variances).sum(dim=0) / sizes.sum())
    assert norm.momentum == 0.1
    return mean


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "flags",
    [
        {"limit_val_batches": 0},
        {"limit_val_batches": 0, "max_steps": 30},
        {"limit_val_batches": 0, "max_steps": 38, "max_epochs": 100},
        {"check_val_every_n_epoch": 3},
    ],
    ids=["no validation", "within an epoch", "after an epoch", "long after a validation"],
)
def test_the_last_weights_have_their_own_statistics_however_a_run_ends(
    datamodule: ImageDataModule, trainer: MakeTrainer, compiled: bool, flags: dict[str, Any]
) -> None:
    classifier = _trained(trainer, datamodule, compiled, flags=flags, batch_norm=True, dropout=0.5)
    _assert_statistics(classifier.evaluated, datamodule)


@pytest.mark.parametrize(
    "ending",
    [f"trainer.max_epochs={epochs}" for epochs in ("2", "100 trainer.max_steps=30", "100 trainer.max_steps=38")],
)
def test_the_file_of_the_last_weights_has_their_statistics(tiny: Compose, tmp_path: Path, ending: str) -> None:
    words = ("model.batch_norm=true", "model.dropout=0.5", "data.val_size=0", "compile=false")
    train(tiny(*words, *ending.split()), tmp_path)
    classifier, datamodule = checkpoints.load(tmp_path)
    datamodule.setup()
    _assert_statistics(classifier.evaluated, datamodule)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("averaging", [None, {"name": "ema", "decay": 0.9}], ids=["", "ema"])
def test_a_validation_within_an_epoch_has_the_statistics_of_its_weights(
    datamodule: ImageDataModule, trainer: MakeTrainer, averaging: dict[str, Any] | None, compiled: bool
) -> None:
    seen = []

    class Looks(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert isinstance(pl_module, Classifier)
            seen.append(_assert_statistics(pl_module.evaluated, datamodule))

    flags = {"max_epochs": 1, "val_check_interval": 7, "num_sanity_val_steps": 0}
    flags["callbacks"] = [Looks(), CompiledSteps(compiled)]
    classifier = Classifier([16, 12], batch_norm=True, mixup=0.4, averaging=averaging)
    trainer(**flags).fit(classifier, datamodule=datamodule)
    assert len(seen) == 2


def test_without_a_data_module_the_running_statistics_are_kept(
    datamodule: ImageDataModule, trainer: MakeTrainer
) -> None:
    loader = DataLoader(list(datamodule.batches("train"))[:1], batch_size=None)  # type: ignore[arg-type]
    classifier = Classifier([8], dropout=0.5, batch_norm=True)
    trainer(max_epochs=1).fit(classifier, loader, loader)
    assert int(classifier.mlp.batch_norm1.num_batches_tracked) == 1
    # A tenth of the variance of the one batch, and nine of the 1 that it began with.
    assert classifier.mlp.batch_norm1.running_var.min() > 0.9


def test_a_batch_of_one_image_has_no_variance() -> None:
    images = torch.rand(16, 1, 28, 28)
    network = MLP([8], batch_norm=True, dropout=0.5)
    renew(network, [images[:10], images[10:11], images[11:16]])
    features = network.linear1(images.flatten(1))
    variances = [features[rows].var(dim=0) for rows in (slice(10), slice(11, 16))]
    torch.testing.assert_close(network.batch_norm1.running_var, (2 * variances[0] + variances[1]) / 3)


@pytest.mark.parametrize(
    ("start", "epochs", "first"),
    [(0.29, 100, 30), (0.75, 5, 4), (0.75, 10, 8), (0.75, 4, 4), (0.0, 3, 1), (0.99, 2, 2)],
)
def test_swa_begins_after_its_share_of_the_epochs(
    trainer: MakeTrainer, datamodule: ImageDataModule, start: float, epochs: int, first: int
) -> None:
    classifier = Classifier([2], averaging={"name": "swa", "start": start})
    trainer(max_epochs=epochs, limit_train_batches=1, limit_val_batches=0).fit(classifier, datamodule=datamodule)
    assert classifier.average is not None
    assert int(classifier.average.n_averaged) == epochs - first + 1


def test_averages_in_64_bits_are_exact(trainer: MakeTrainer, datamodule: ImageDataModule) -> None:
    noted = Noted()
    averaging = {"name": "swa", "start": 0.25}
    classifier = _trained(trainer, datamodule, noted=noted, flags={"precision": "64-true"}, averaging=averaging)
    mean = torch.stack([noted.after_batch[end]["logits.weight"] for end in (37, 56, 75)]).mean(dim=0)
    torch.testing.assert_close(classifier.evaluated.logits.weight, mean, rtol=1e-13, atol=0)


def test_running_statistics_are_kept_where_nothing_is_drawn_or_averaged(
    datamodule: ImageDataModule, trainer: MakeTrainer
) -> None:
    classifier = _trained(trainer, datamodule, batch_norm=True)
    features = [classifier.mlp.linear1(images.flatten(1)) for images, _ in datamodule.batches("train")]
    mean = torch.stack([x.mean(dim=0) for x in features]).mean(dim=0)
    assert not torch.allclose(classifier.mlp.batch_norm1.running_mean, mean, rtol=1e-3)


def test_validation_and_predictions_use_the_average(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    classifier = _trained(trainer, datamodule, averaging={"name": "ema", "decay": 0.95})
    assert classifier.average is not None
    images, labels = next(datamodule.batches("val"))
    logits = classifier.average.module(images)
    assert classifier.history[-1]["val/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert torch.equal(classifier.eval()(images), logits)
    assert not torch.allclose(classifier.train()(images), logits)


@pytest.mark.parametrize(
    "averaging",
    [{"name": "mean"}, {"name": "ema", "decay": 1.0}, {"name": "swa", "start": 1.0}, {"name": "swa", "start_epoch": 3}],
)
def test_impossible_averages_are_refused(averaging: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`averaging` must"):
        Classifier([4], averaging=averaging)


def test_without_a_name_there_is_no_average() -> None:
    assert make_average(MLP([4]), {"name": None, "decay": 0.9, "start": 0.5}) is None


# Warm-up


@pytest.mark.parametrize("warmup", [1, 2, 5])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", [None, "CosineAnnealingLR", "StepLR"])
def test_the_rate_rises_and_then_follows_its_schedule(
    datamodule: ImageDataModule, trainer: MakeTrainer, name: str | None, compiled: bool, warmup: int
) -> None:
    scheduler: dict[str, Any] = {"name": name, "interval": "step", "warmup": warmup}
    if name == "StepLR":
        scheduler |= {"step_size": 4, "gamma": 0.5}
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: object) -> None:
            rates.append(pl_module.rate)

    Rates.__module__ = "mlplab.tests"  # content with blocks
    classifier, steps = (
        Classifier([4], optimizer={"name": "SGD", "lr": 0.1}, scheduler=scheduler),
        CompiledSteps(compiled),
    )
    with _short_blocks():
        trainer(max_epochs=1, limit_val_batches=0, callbacks=[steps, Rates()]).fit(classifier, datamodule=datamodule)
    rest = 19 - warmup
    after = {
        None: [0.1] * rest,
        "CosineAnnealingLR": [0.05 * (1 + math.cos(math.pi * step / rest)) for step in range(rest)],
        "StepLR": [0.1 * 0.5 ** (step // 4) for step in range(rest)],
    }
    assert rates == pytest.approx([0.1 * (step + 1) / warmup for step in range(warmup)] + after[name])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("scheduler=cosine", "scheduler.interval=epoch"), r"scheduler\.warmup: counts steps"),
        (("scheduler.interval=epoch",), r"scheduler\.warmup: counts steps"),
        (("scheduler.name=ExponentialLR", "scheduler.gamma=0.9"), r"scheduler\.warmup: counts steps"),
        (("scheduler=onecycle",), r"scheduler\.warmup: not possible with OneCycleLR"),
    ],
)
def test_what_a_warm_up_does_not_fit_is_refused(composed: Compose, words: Sequence[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        composed("scheduler.warmup=100", *words)


def test_a_warm_up_is_shorter_than_the_run(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.warmup: must be below 76, the steps of the run, got 76"):
        _trained(trainer, datamodule, scheduler={"warmup": 76})


# Configuration


def test_aids_are_off_by_default_and_do_not_change_what_a_run_is(composed: Compose) -> None:
    config = composed()
    assert config.aids.model_dump() == {"max_norm": None, "label_smoothing": 0.0, "mixup": None}
    assert config.averaging.name is None
    hashes = {
        composed(word).hash
        for word in ("aids.max_norm=3", "aids.mixup=0.2", "averaging=ema", "averaging=swa", "model.batch_norm=true")
    }
    assert len({config.hash, *hashes}) == 6
    # That of runs of versions without aids, so that sweeps do not train them again.
    assert composed("data.root=anywhere").hash == "dcd1ec710b41941e"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("aids.max_norm=0",), r"aids\.max_norm: must be greater than 0"),
        (("aids.max_norm=3", "model.hidden=[]"), r"aids\.max_norm: needs a hidden layer"),
        (("aids.mixup=0",), r"aids\.mixup: must be greater than 0"),
        (("aids.label_smoothing=1.0",), r"aids\.label_smoothing: must be less than 1"),
        (("model.input_noise=-1",), r"model\.input_noise: must be greater than or equal to 0"),
        (("averaging=swa", "averaging.start=1"), r"averaging\.start: must be less than 1"),
        (("averaging=swa", "averaging.decay=0.9"), r"averaging\.decay: needs averaging=ema"),
        (("averaging.decay=0.9",), r"averaging\.decay: needs averaging=ema"),
        (("averaging=ema", "averaging.decay=1"), r"averaging\.decay: must be less than 1"),
        (("scheduler.warmup=-1",), r"scheduler\.warmup: must be greater than or equal to 0"),
    ],
)
def test_impossible_aids_are_refused(composed: Compose, words: Sequence[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        composed(*words)
