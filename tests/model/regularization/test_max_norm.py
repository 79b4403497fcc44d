import torch

from mlplab.model.regularization.max_norm import limit


def test_norms_above_the_bound_come_down_to_it_and_keep_their_direction() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 7) * torch.tensor([0.1, 0.5, 2, 3, 0]).unsqueeze(1)
    before, norms = weight.clone(), weight.norm(dim=1)
    limit([weight], 2.5)
    for row, old, norm in zip(weight, before, norms, strict=True):
        torch.testing.assert_close(row, old if norm <= 2.5 else old * (2.5 / norm))
    assert (norms > 2.5).tolist() == [False, False, True, True, False]
