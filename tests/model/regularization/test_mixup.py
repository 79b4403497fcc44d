import itertools

import pytest
import torch

from mlplab.model.regularization import mixup


def test_shares_are_of_their_beta_distribution() -> None:
    drawn = [mixup.draw(4, 0.5, seed) for seed in range(4000)]
    shares = torch.tensor([share for share, _ in drawn])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / 8, rel=0.1)  # 1 / (4 (2 alpha + 1))
    assert {tuple(partners.tolist()) for _, partners in drawn} == set(itertools.permutations(range(4)))
