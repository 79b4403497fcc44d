import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROJECT, MakeTrainer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import ConfigError
from mlplab.model.classifier import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory

SGD = {"name": "SGD", "lr": 0.1}


def _trained(trainer: MakeTrainer, datamodule: ImageDataModule, seed: int = 0, **arguments: Any) -> Classifier:
    torch.manual_seed(seed)
    classifier = Classifier([16], seed=seed, **arguments)
    trainer(max_epochs=2).fit(classifier, datamodule=datamodule)
    return classifier


def _same(one: Classifier, other: Classifier) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": {**SGD, "nesterov": True}},
        {"optimizer": SGD, "scheduler": {"name": "OneCycleLR", "interval": "step", "pct_start": 7}},
        {"optimizer": SGD, "scheduler": {"name": "StepLR", "interval": "epoch", "step_size": "abc"}},
        {"optimizer": SGD, "scheduler": {"name": "StepLR", "interval": "epoch", "step_size": 0}},
        {"optimizer": SGD, "scheduler": {"name": "CosineAnnealingLR", "interval": "step", "eta_min": "abc"}},
    ],
)
def test_what_torch_refuses_is_a_mistake_of_the_configuration(
    datamodule: ImageDataModule, trainer: MakeTrainer, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"optimizer|scheduler"):
        trainer(max_epochs=2).fit(Classifier([4], **arguments), datamodule=datamodule)


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": {"name": "sgd"}},  # a module of torch.optim
        {"optimizer": {"lr": 0.1}},
        {"scheduler": {"name": "StepRL"}},
        {"scheduler": {"name": "EPOCH_DEPRECATION_WARNING"}},
    ],
)
def test_a_class_that_torch_has_not_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must name a class of torch.optim"):
        Classifier([4], **arguments)


def test_predictions_are_the_softmax_of_the_logits(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    classifier = _trained(trainer, datamodule, dropout=0.5)
    batches = trainer().predict(classifier, datamodule=datamodule)
    assert batches is not None
    probabilities = torch.cat(batches)  # type: ignore[arg-type]
    ((images, _),) = datamodule.batches("test")
    logits = classifier.eval()(images)
    expected: Tensor = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(probabilities, expected)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(50))
    torch.testing.assert_close(classifier.predict_step(images), expected)


def test_it_works_in_a_notebook() -> None:
    classifier = Classifier()
    assert classifier(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert sum(parameter.numel() for parameter in classifier.parameters()) == 101_770


@pytest.mark.filterwarnings("ignore::UserWarning:lightning")  # advice for a notebook
def test_the_notebook_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (PROJECT / "scripts" / "README.md").read_text().partition("## In a notebook")[2]
    lines = [line[4:] for line in text.partition("The classifier takes")[0].splitlines() if line.startswith("    ")]
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    assert names["trainer"].callback_metrics["test/acc"] > 0.9


def test_shape_and_classes_are_those_of_the_data(trainer: MakeTrainer, tiny_root: Path) -> None:
    classifier = Classifier([16], averaging={"name": "ema"})
    trainer(max_epochs=1).fit(classifier, ImageDataModule("digits"))
    assert classifier(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert classifier.hparams["image_shape"] == (1, 8, 8)
    first = Classifier([16], image_shape=(1, 28, 28))
    weights = copy.deepcopy(first.state_dict())
    fashion = ImageDataModule("fashion", tiny_root, val_size=0)
    trainer().test(first, fashion, verbose=False)
    assert first.hparams["classes"] == fashion.info.classes
    assert all(torch.equal(weights[name], value) for name, value in first.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"image_shape": (1, 8, 8)}, r"`image_shape` must be \(1, 28, 28\) for the images of mnist, got \(1, 8, 8\)"),
        ({"classes": ["even", "odd"]}, "`classes` must be .* for the images of mnist, got .*even"),
    ],
)
def test_what_was_given_is_kept(
    datamodule: ImageDataModule, trainer: MakeTrainer, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        trainer(max_epochs=1).fit(Classifier([16], **arguments), datamodule)


def test_weights_that_were_loaded_or_trained_are_kept(datamodule: ImageDataModule, trainer: MakeTrainer) -> None:
    trained, loaded = _trained(trainer, datamodule), Classifier([16])
    loaded.load_state_dict(trained.state_dict())
    for classifier in (trained, loaded):
        with pytest.raises(ValueError, match=r"`image_shape` must be \(1, 8, 8\) for the images of digits"):
            trainer().test(classifier, ImageDataModule("digits"), verbose=False)
    assert _same(trained, loaded)


X, Y = torch.zeros(20, 1, 28, 28), torch.arange(20) % 10


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (X[:, :, :8, :8], Y, "`image_shape` must be that of the images"),
        (X, Y + 1, "labels must be from 0 to 9, one for each of `classes`"),
        (X, Y - 1, "labels must be from 0 to 9, one for each of `classes`"),
        (X, Y.float(), "labels must be int64"),
        (X, F.one_hot(Y), "labels must be int64"),
    ],
)
@pytest.mark.parametrize("use", ["fit", "test"])
@pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")
def test_a_loader_that_does_not_fit_is_named(
    trainer: MakeTrainer, images: Tensor, labels: Tensor, says: str, use: str
) -> None:
    loader = DataLoader([(images, labels)], batch_size=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=says):
        getattr(trainer(max_epochs=1), use)(Classifier([16]), loader)


@pytest.mark.parametrize(
    "arguments",
    [
        {"image_shape": 28},
        {"image_shape": (0, 28, 28)},
        {"classes": 10},
        {"classes": []},
        {"optimizer": "SGD"},
        {"scheduler": "StepLR"},
        {"scheduler": {"name": "StepLR", "step_size": 1, "interval": "batch"}},
        {"averaging": "ema"},
        {"monitor": "val_loss"},
        {"gradient_clip_algorithm": "typo"},
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        Classifier(**arguments)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_it_is_exported_after_a_fit(
    datamodule: ImageDataModule, trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = _trained(trainer, datamodule, dropout=0.5, averaging={"name": "ema"}).eval()
    images = torch.randn(3, 1, 28, 28)
    traced: Any = classifier.to_torchscript(method="trace")
    assert torch.equal(traced(images), classifier(images))
    exported = []
    monkeypatch.setattr("lightning.pytorch.core.module._ONNX_AVAILABLE", True)
    monkeypatch.setattr(torch.onnx, "export", lambda network, sample, file: exported.append(sample))
    classifier.to_onnx("network.onnx", images)
    classifier.to_onnx("network.onnx")
    assert torch.equal(exported[0], images)
    assert classifier(exported[1]).shape == (1, 10)


def test_it_is_loaded_without_a_trainer(datamodule: ImageDataModule, trainer: MakeTrainer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier, make = Classifier([16]), trainer(max_epochs=2)
    make.fit(classifier, datamodule)
    make.save_checkpoint(tmp_path / "own.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True)
    assert _same(classifier, loaded)
    assert loaded.history == classifier.history
