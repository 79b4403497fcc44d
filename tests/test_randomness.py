from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from mlplab import randomness
from mlplab.randomness import Purpose, bits, derive, normal, permutation, seed_generator, uniform


def test_every_stream_has_a_seed_of_its_own() -> None:
    seeds = [derive(*stream) for stream in product(range(10), Purpose, range(50))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_permutation_has_every_number_once() -> None:
    assert sorted(permutation(1000, 0, Purpose.ORDER).tolist()) == list(range(1000))
    assert torch.equal(permutation(9, 4, Purpose.SPLIT), permutation(9, 4, Purpose.SPLIT))


def test_the_global_generator_is_seeded() -> None:
    seed_generator(torch.device("cpu"), 3)
    drawn = torch.rand(5)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(5), drawn)


def _seed(number: int) -> Tensor:
    return torch.tensor(number, dtype=torch.int32)


def test_uniform_numbers_by_hash_are_uniform() -> None:
    drawn = uniform((1000, 100), _seed(5), place=2)
    assert 0 < float(drawn.min()) < 1e-4
    assert 1 - 1e-4 < float(drawn.max()) < 1
    counts = drawn.mul(20).long().flatten().bincount(minlength=20).double()
    chi_square = float(((counts - 5000) ** 2 / 5000).sum())
    assert chi_square < 43.8  # exceeded once in a thousand times, with 19 degrees of freedom


@pytest.mark.parametrize(("drawn", "expected"), [(0, 2.0**-24), (2**31 - 1, 1 - 2.0**-24)])
def test_uniform_numbers_are_never_0_or_1(drawn: int, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randomness, "bits", lambda *_: torch.tensor([drawn], dtype=torch.int32))
    assert uniform((1,), _seed(0), place=0).item() == expected
    assert normal((1,), _seed(0), place=0).isfinite().all()


def test_normal_numbers_by_hash_are_normal() -> None:
    drawn = normal((400, 500), _seed(5), place=0).flatten().double()
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    for sigmas, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert float((drawn.abs() < sigmas).double().mean()) == pytest.approx(share, abs=0.003)
    assert float(torch.corrcoef(torch.stack([drawn[1:], drawn[:-1]]))[0, 1]) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("draw", [bits, uniform, normal])
def test_seed_place_and_index_tell_numbers_by_hash_apart(draw: Callable[..., Tensor]) -> None:
    first = draw((50, 40), _seed(1), place=4)
    assert torch.equal(first, draw((50, 40), _seed(1), place=4))
    others = [draw((50, 40), _seed(2), place=4), draw((50, 40), _seed(1), place=6), first.roll(1, 0), first.roll(1, 1)]
    for other in others:
        assert float((first == other).double().mean()) < 0.01
