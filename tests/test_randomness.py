from itertools import product

import torch

from mlplab.randomness import Purpose, derive, permutation, seed_generator


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
