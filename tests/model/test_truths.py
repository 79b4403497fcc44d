"""What the tutorials that this project replaces let a reader work out by hand."""

import pytest
import torch

from mlplab.data.datamodule import ImageDataModule
from mlplab.model import evaluation
from mlplab.model.classifier import Classifier


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
