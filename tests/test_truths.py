"""What the tutorials that this project replaces let a reader work out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mlplab import evaluation
from mlplab.classifier import Classifier
from mlplab.datamodule import ImageDataModule


def test_linear_unit_decides_by_the_sign() -> None:
    unit = nn.Linear(2, 1)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([[2.0, 1.0]]))
        unit.bias.fill_(-10.0)
    output = unit(torch.tensor([6.0, 5.0]))
    assert output.item() == 7
    assert int(output > 0) == 1


def test_cross_entropy_on_integers_is_categorical_cross_entropy_on_one_hot() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(32, 10), torch.randint(10, (32,))
    one_hot = F.one_hot(labels, 10).double()
    by_hand = -(one_hot * logits.double().softmax(dim=1).log()).sum(dim=1).mean()
    assert F.cross_entropy(logits, labels).item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_probabilities_sum_to_one() -> None:
    probabilities = Classifier(hidden=[8]).predict_step(1000 * torch.randn(64, 1, 28, 28))
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(64))


def test_untrained_network_is_right_one_time_in_ten() -> None:
    datamodule = ImageDataModule("digits", val_size=0)
    datamodule.setup()
    accs = []
    for seed in range(20):
        torch.manual_seed(seed)
        accs.append(evaluation.score(Classifier(image_shape=(1, 8, 8)), datamodule.batches("test")).acc)
    assert sum(accs) / len(accs) == pytest.approx(0.1, abs=0.03)
    assert all(acc < 0.3 for acc in accs)
