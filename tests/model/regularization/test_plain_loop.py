"""Runs with all kinds of regularisation together, compared with a plain loop."""

from typing import Any

import plain_loop
import pytest
import torch
from conftest import MakeTrainer

from mlplab.data.datamodule import ImageDataModule
from mlplab.model.classifier import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory

EPOCHS = 3
# Under batch norm a pixel that is the same in all images has no gradient but rounding errors, of which Adam makes full
# steps if `eps` is as small as its own.
OPTIMIZERS = {
    "SGD": {"name": "SGD", "lr": 0.01, "momentum": 0.9},
    "Adam": {"name": "Adam", "lr": 2e-4, "eps": 1e-4},
    "Adagrad": {"name": "Adagrad", "lr": 0.01, "eps": 1e-4},  # torch's own
}
# Arguments of `Classifier`, and of `plain_loop.trained` where they are not the same; each alone: test_training_step.py.
AIDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all": (
        {
            "dropout": [0.2, 0.03], "input_dropout": 0.1, "input_noise": 0.1, "hidden_noise": 0.1, "batch_norm": True,
            "max_norm": 0.7, "label_smoothing": 0.1, "mixup": 0.4, "gradient_clip_val": 1.0,
        },
        {"max_norm": 0.7, "label_smoothing": 0.1, "mixup_alpha": 0.4, "clip": 1.0},
    ),
    "clip by value": (
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
        {"clip": 0.01, "by_value": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("aids", "chosen"), [("all", "SGD"), ("all", "Adam"), ("all", "Adagrad"), ("clip by value", "SGD")]
)
def test_a_run_is_a_plain_loop(datamodule: ImageDataModule, trainer: MakeTrainer, aids: str, chosen: str) -> None:
    (arguments, same), optimizer = AIDS[aids], OPTIMIZERS[chosen]
    torch.manual_seed(0)
    averaging = {"name": "ema", "decay": 0.9}
    classifier = Classifier([16, 12], optimizer=optimizer, averaging=averaging, **arguments)
    expected = plain_loop.trained(classifier.mlp, datamodule, EPOCHS, optimizer, decay=0.9, **same)
    untrained = plain_loop.state_of(classifier.mlp)
    trainer(max_epochs=EPOCHS).fit(classifier, datamodule=datamodule)

    assert classifier.average is not None
    sizes = torch.tensor([32] * 4 + [22]).double()
    for epoch, row in enumerate(classifier.history):
        losses, correct = (torch.tensor(x[5 * epoch :][:5]) for x in (expected.losses, expected.correct))
        assert row["train/loss"] == pytest.approx(float((losses * sizes).sum() / 150), rel=1e-5)
        assert row["train/acc"] == pytest.approx(float(correct.sum() / 150))
        assert row["step"] == 5 * (epoch + 1)
    anew = ("running_mean", "running_var", "num_batches_tracked")
    averaged = {key: value for key, value in expected.ema.items() if not key.endswith(anew)}
    for network, states in ((classifier.mlp, expected.network.state_dict()), (classifier.average.module, averaged)):
        found = network.state_dict()
        for key, state in states.items():
            if not state.is_floating_point():
                assert torch.equal(found[key], state), key
            else:
                moved = (state - untrained[key]).norm()
                assert (found[key] - state).norm() <= 1e-4 * moved + 1e-6, key
