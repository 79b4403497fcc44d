from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlplab import randomness
from mlplab.model.layers import layer_of
from mlplab.model.mlp import GaussianNoise
from mlplab.model.training_step import draw
from mlplab.randomness import (
    ALIGNMENT,
    Purpose,
    bits,
    derive,
    derive_many,
    permutation,
    random_bytes,
    seed_generator,
    uniform,
)


def test_every_stream_has_a_seed_of_its_own() -> None:
    seeds = [derive(*stream) for stream in product(range(10), Purpose, range(50))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_more_seeds_begin_with_the_same_ones() -> None:
    few, many = (derive_many(count, 3, Purpose.AUGMENT, 2) for count in (5, 2000))
    assert many[:5] == few
    assert many[0] == derive(3, Purpose.AUGMENT, 2)
    assert len(set(many)) == 2000


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    streams = list(product(range(3), range(3)))
    drawn = {stream: tuple(permutation(100, stream[0], Purpose.ORDER, stream[1]).tolist()) for stream in streams}
    assert len(set(drawn.values())) == 9
    torch.manual_seed(5)  # nor does the state of a generator matter
    assert all(tuple(permutation(100, seed, Purpose.ORDER, k).tolist()) == drawn[seed, k] for seed, k in streams)


def test_the_global_generator_is_seeded() -> None:
    seed_generator(torch.device("cpu"), 3)
    drawn = torch.rand(5)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(5), drawn)


def test_a_stream_of_bytes_can_be_entered_anywhere() -> None:
    whole = random_bytes(7, Purpose.DROPOUT, 3, 0, 400 * ALIGNMENT)
    assert (whole.dtype, len(whole)) == (np.uint8, 400 * ALIGNMENT)
    for first, count in ((0, 1), (1, 1), (17, 60), (399, 1), (128, 272)):
        entered = random_bytes(7, Purpose.DROPOUT, 3, first * ALIGNMENT, count * ALIGNMENT)
        assert np.array_equal(entered, whole[first * ALIGNMENT :][: count * ALIGNMENT])


def test_streams_of_bytes_are_uniform_and_have_nothing_to_do_with_each_other() -> None:
    streams = [(7, Purpose.DROPOUT, 3), (8, Purpose.DROPOUT, 3), (7, Purpose.AUGMENT, 3), (7, Purpose.DROPOUT, 4)]
    drawn = [random_bytes(*stream, 0, 51_200).astype(np.int64) for stream in streams]
    for numbers in drawn:
        counts = np.bincount(numbers, minlength=256)
        assert ((counts - 200) ** 2 / 200).sum() < 330.5  # exceeded once in a thousand times, with 255 degrees
    for one, other in ((drawn[0], drawn[k]) for k in (1, 2, 3)):
        assert (one == other).mean() == pytest.approx(1 / 256, abs=0.002)


def _output(module: nn.Module, features: Tensor) -> Tensor:
    """Return the output in training, as the layer draws and computes it."""
    layer = layer_of(module, features)
    next(draw([layer], len(features), 0, epoch=0, first=0, count=1))
    for call in layer.forward:
        call()
    return layer.output


@pytest.mark.parametrize(("rate", "parts"), [(0.5, 256), (0.2, 256), (0.0625, 256), (0.9, 256), (0.03, 2**16)])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float, parts: int) -> None:
    """The rate of a layer is the nearest that its bits represent; a dropped unit is 0.

    No image, and no unit, is dropped more than chance allows.
    """
    values = _output(nn.Dropout(rate), torch.ones(1000, 2000, dtype=torch.float64))
    kept = values[values != 0]
    assert kept.unique().numel() == 1
    exact = 1 - 1 / float(kept[0])  # the rate for which the rest is scaled
    assert exact == pytest.approx(rate, abs=0.5 / parts + 1e-9)
    error = (exact * (1 - exact) / values.numel()) ** 0.5
    assert 1 - len(kept) / values.numel() == pytest.approx(exact, abs=5 * error)
    assert float(values.mean()) == pytest.approx(1, abs=5 * error * float(kept[0]))
    for direction in (0, 1):
        shares = (values == 0).double().mean(direction)
        deviation = (exact * (1 - exact) / values.shape[direction]) ** 0.5
        assert float(shares.std()) == pytest.approx(deviation, rel=0.15)


def test_noise_in_training_is_normal() -> None:
    values = _output(GaussianNoise(0.3), torch.full((1000, 2000), 7.0, dtype=torch.float64)).flatten() - 7
    assert float(values.mean()) == pytest.approx(0, abs=5 * 0.3 / values.numel() ** 0.5)
    assert float(values.std()) == pytest.approx(0.3, rel=5 / (2 * values.numel()) ** 0.5)
    for sigmas, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert float((values.abs() < 0.3 * sigmas).double().mean()) == pytest.approx(share, abs=0.002)


def test_uniform_numbers_are_uniform() -> None:
    drawn = uniform((1000, 100), 5, place=2)
    assert 0 < float(drawn.min()) < 1e-4
    assert 1 - 1e-4 < float(drawn.max()) < 1
    counts = drawn.mul(20).long().flatten().bincount(minlength=20).double()
    chi_square = float(((counts - 5000) ** 2 / 5000).sum())
    assert chi_square < 43.8  # exceeded once in a thousand times, with 19 degrees of freedom


@pytest.mark.parametrize(("raw", "expected"), [(0, 2.0**-24), (2**64 - 1, 1 - 2.0**-24)])
def test_uniform_numbers_are_never_0_or_1(raw: int, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Philox:
        def __init__(self, key: object) -> None: ...

        def random_raw(self, size: int) -> object:
            return np.full(size, raw, np.uint64)

    monkeypatch.setattr(randomness.np.random, "Philox", Philox)
    assert uniform((1,), 0, place=0).item() == expected


@pytest.mark.parametrize("draw", [bits, uniform])
def test_seed_place_and_index_tell_numbers_apart(draw: Callable[..., Tensor]) -> None:
    first = draw((50, 40), 1, place=4)
    assert torch.equal(first, draw((50, 40), 1, place=4))
    assert torch.equal(first[:7], draw((7, 40), 1, place=4))  # those of an image, whatever comes after it
    others = [draw((50, 40), 2, place=4), draw((50, 40), 1, place=6), first.roll(1, 0), first.roll(1, 1)]
    for other in others:
        assert float((first == other).double().mean()) < 0.01
