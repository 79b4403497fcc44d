"""The hand-written training step, compared with plain torch: autograd, torch.optim and formulas."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from plain_loop import Loop, Trained
from torch import Tensor, optim
from torch.nn import functional as F

from mlplab.config.torch_signatures import activations
from mlplab.model import fused_optimizers
from mlplab.model.mlp import MLP
from mlplab.model.noise import draw
from mlplab.model.regularization.weight_averaging import make_average
from mlplab.model.training_step import Method, Steps

SIDE = 5  # of an image
EPOCH = 3
COUNT = 4  # batches in a row, then one that may be shorter
OPTIMIZERS: Sequence[tuple[str, dict[str, Any]]] = (
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01, "eps": 1e-4}),
    ("AdamW", {"lr": 0.01, "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01, "eps": 1e-4}),
)
CLIP_NORM: dict[str, Any] = {"gradient_clip_val": 0.1}
CLIP_VALUE: dict[str, Any] = {"gradient_clip_val": 0.005, "gradient_clip_algorithm": "value"}


@dataclass(frozen=True)
class Case:
    """A network, its batches, and the training method."""

    hidden: Sequence[int] = (6, 5)
    network: dict[str, Any] = field(default_factory=dict)
    num_classes: int = 4
    method: Method = Method(dtype=torch.float64)  # noqa: RUF009
    sizes: Sequence[int] = (7, 7, 7, 7, 3)
    optimizer: tuple[str, dict[str, Any]] = OPTIMIZERS[0]
    ema: float | None = None
    labels: int | None = None  # that all images have
    scale: float = 1.0  # of the logits
    seed: int = 0

    def made(self) -> MLP:
        torch.manual_seed(self.seed)
        network = MLP(self.hidden, image_shape=(1, SIDE, SIDE), num_classes=self.num_classes, **self.network)
        with torch.no_grad():
            for weight in network[-1].parameters():
                weight.mul_(self.scale)
        return network.to(torch.float64 if self.method.dtype == torch.float64 else torch.float32)

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        batches = []
        for size in self.sizes:
            images = torch.randn(size, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
            labels = torch.randint(0, self.num_classes, (size,), generator=generator)
            batches.append((images, labels if self.labels is None else torch.full_like(labels, self.labels)))
        return batches


def _by_steps(case: Case) -> Trained:
    """Train on all batches except the last in one call."""
    network, batches, gradients = case.made(), case.batches(), []
    dtype = next(network.parameters()).dtype
    name, arguments = case.optimizer
    average = None if case.ema is None else make_average(network, {"name": "ema", "decay": case.ema, "start": 0.5})
    after_step = [] if average is None else [average.follow(network)]
    steps = Steps(network, case.num_classes, case.method, SIDE * SIDE, case.sizes[0], after_step)
    optimizer = getattr(fused_optimizers, name)(network.parameters(), **arguments)

    def update() -> None:
        gradients.append([weight.grad.clone() for weight in network.parameters()])
        optimizer.step()

    outcomes = []
    for first, last in ((0, len(batches) - 1), (len(batches) - 1, len(batches))):
        images, labels = zip(*batches[first:last], strict=True)
        given = (batch.to(dtype) for batch in images)
        outcomes.append(steps(given, torch.stack(labels), EPOCH, first, update))
    losses, correct = (torch.cat(parts).tolist() for parts in zip(*outcomes, strict=True))
    return Trained(network, gradients, losses, correct, {} if average is None else average.module.state_dict())


def _by_torch(case: Case) -> Trained:
    (name, arguments), method = case.optimizer, case.method
    loop = Loop(
        case.made(),
        {"name": name, **arguments, "foreach": False},
        case.sizes[0],
        method.seed,
        method.label_smoothing,
        method.mixup,
        method.max_norm,
        method.gradient_clip_val,
        method.gradient_clip_algorithm == "value",
        case.ema,
    )
    for number, (images, labels) in enumerate(case.batches()):
        loop.step(images, labels, EPOCH, number)
    return loop.trained


def _assert_same(case: Case, rtol: float = 1e-8, atol: float = 1e-11) -> None:
    found, expected = _by_steps(case), _by_torch(case)
    for ours, theirs in zip(found.gradients, expected.gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)
    assert found.losses == pytest.approx(expected.losses, rel=rtol, abs=atol)
    assert found.correct == expected.correct
    torch.testing.assert_close(found.network.state_dict(), expected.network.state_dict(), rtol=rtol, atol=atol)
    if case.ema is not None:
        torch.testing.assert_close(found.ema, dict(expected.ema), rtol=rtol, atol=atol, check_dtype=False)


def _random_case(seed: int) -> Case:
    choice = random.Random(seed)

    def maybe(value: Any, otherwise: Any = 0.0) -> Any:
        return value if choice.random() < 0.3 else otherwise

    batch_norm = choice.random() < 0.3
    size = choice.randint(2 if batch_norm else 1, 9)
    last = choice.randint(2 if batch_norm else 1, size)
    classes = choice.randint(2, 6)
    hidden = [choice.randint(1, 8) for _ in range(choice.randint(0, 3))]
    rates = [maybe(choice.choice([0.01, 0.2, 0.5, 0.9])) for _ in hidden] or 0.0
    network = {
        "activation": choice.choice(["ReLU", *sorted(activations())]),
        "dropout": rates,
        "batch_norm": batch_norm,
        "input_dropout": maybe(0.2),
        "input_noise": maybe(0.3),
        "hidden_noise": maybe(0.3),
    }
    method = Method(
        seed=seed,
        label_smoothing=maybe(0.1),
        mixup=maybe(choice.choice([0.2, 1.0]), None),
        max_norm=maybe(0.5, None),
        **maybe(choice.choice([CLIP_NORM, CLIP_VALUE]), {}),
        dtype=torch.float64,
    )
    return Case(
        hidden,
        network,
        classes,
        method,
        (*[size] * COUNT, last),
        choice.choice(OPTIMIZERS),
        ema=maybe(0.6, None),
        labels=maybe(choice.randrange(classes), None),
        scale=maybe(100.0, 1.0),
        seed=seed,
    )


@pytest.mark.parametrize("start", range(0, 160, 20))
def test_random_networks_are_trained_as_by_autograd(start: int) -> None:
    for seed in range(start, start + 20):
        case = _random_case(seed)
        try:
            _assert_same(case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error


@pytest.mark.parametrize(
    "network", [{}, {"activation": "Tanh"}, {"activation": "ELU"}, {"batch_norm": True}, {"dropout": 0.2}], ids=str
)
def test_bfloat16_is_near(network: dict[str, Any]) -> None:
    """Features have 8 bits, but the weights have 32, and each step computes with the weights of the one before."""
    exact = Case((32, 32), network, sizes=(64,) * 5, optimizer=("SGD", {"lr": 1.0}))
    coarse = replace(exact, method=Method(dtype=torch.bfloat16))
    found, expected = _by_steps(coarse), _by_steps(exact)
    assert all(weight.dtype == torch.float32 for weight in found.network.parameters())
    for ours, theirs in zip(found.gradients[0], expected.gradients[0], strict=True):
        assert 1e-4 * theirs.norm() < (ours - theirs).norm() < 0.15 * theirs.norm()
    assert found.losses == pytest.approx(expected.losses, rel=0.02)


def test_saturated_logits_of_32_bits_stay_finite() -> None:
    found = _by_steps(Case(method=Method(), scale=1e6, optimizer=("SGD", {"lr": 0.0})))
    expected = _by_steps(Case(scale=1e6, optimizer=("SGD", {"lr": 0.0})))
    assert min(expected.losses) > 1e4
    assert found.losses == pytest.approx(expected.losses, rel=1e-4)
    for ours, theirs in zip(found.gradients[0], expected.gradients[0], strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("frozen", ["linear1", "linear2", "logits"])
def test_frozen_weights_stay_and_the_others_are_trained(frozen: str, dtype: torch.dtype) -> None:
    case = Case(method=Method(dtype=dtype))
    network, reference = case.made(), case.made()
    for part in (network, reference):
        part.get_submodule(frozen).requires_grad_(False)
    steps = Steps(network, case.num_classes, case.method, SIDE * SIDE, 7)
    ours, theirs = fused_optimizers.Adam(network.parameters(), eps=1e-3), optim.Adam(reference.parameters(), eps=1e-3)
    weight_type = next(network.parameters()).dtype
    for number, (images, labels) in enumerate(case.batches()):
        steps([images.to(weight_type)], labels[None], EPOCH, number, ours.step)
        theirs.zero_grad()
        F.cross_entropy(reference(images.to(weight_type)), labels).backward()
        theirs.step()
    for (name, found), expected in zip(network.named_parameters(), reference.parameters(), strict=True):
        if dtype == torch.float64:
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        if name.startswith(frozen):
            assert torch.equal(found, expected)
        else:
            assert not torch.equal(found, case.made().get_parameter(name))


def test_weights_that_were_frozen_after_training_stay() -> None:
    """The last gradient of a frozen weight is not used again."""
    case = Case()
    network = case.made()
    images, labels = case.batches()[0]
    F.cross_entropy(network(images), labels).backward()
    network.linear1.requires_grad_(False)
    optimizer = optim.Adagrad(network.parameters(), lr=0.1)
    Steps(network, 4, case.method, SIDE * SIDE, 7)([images], labels[None], 0, 0, optimizer.step)
    assert torch.equal(network.linear1.weight, case.made().linear1.weight)
    assert not torch.equal(network.linear2.weight, case.made().linear2.weight)


def _drawn(first: int, count: int, epoch: int = 0, seed: int = 0) -> list[tuple[Tensor, ...]]:
    """Return kept pixels, noise and kept hidden units, by batch of 40 images."""
    network = MLP([30], 0.5, image_shape=(1, SIDE, SIDE), num_classes=4, input_dropout=0.5, hidden_noise=0.1)
    layers: list[Any] = Steps(network, 4, Method(), SIDE * SIDE, 40).gradients(40).layers
    drawing = draw(layers, 40, seed, epoch, first, count)
    return [tuple(layer.drawn.clone() for layer in layers if hasattr(layer, "drawn")) for _ in drawing]


def _assert_independent(one: Tensor, other: Tensor) -> None:
    """Assert independence: half of the masks agree, and no two normal numbers are equal."""
    is_kept = bool(((one == 0) | (one == 1)).all())
    expected, most = (0.5, 5 * 0.5 / one.numel() ** 0.5) if is_kept else (0, 0.001)
    assert (one == other).double().mean().item() == pytest.approx(expected, abs=most)


def test_random_numbers_of_another_seed_epoch_step_or_layer_are_others() -> None:
    pixels, noise, units = _drawn(2, 1)[0]
    assert (pixels.shape, noise.shape, units.shape) == ((40, SIDE * SIDE), (40, 30), (40, 30))
    for other in (_drawn(2, 1, seed=1)[0], _drawn(2, 1, epoch=1)[0], _drawn(3, 1)[0], _drawn(1, 1)[0]):
        for found, expected in zip(other, (pixels, noise, units), strict=True):
            _assert_independent(found, expected)
    _assert_independent(pixels.flatten(), units.flatten()[: pixels.numel()])
    for numbers in (pixels, noise, units):
        _assert_independent(numbers, numbers.roll(1, 0))
        _assert_independent(numbers, numbers.roll(1, 1))
