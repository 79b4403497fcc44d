from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import idx
import pytest
import torch
from conftest import Compose, MakeTrainer, mnist
from lightning.pytorch import Callback, LightningModule
from torch import Tensor

from mlplab.data.blocks import Block
from mlplab.data.datamodule import ImageDataModule
from mlplab.data.image_dataset import DatasetInfo
from mlplab.errors import ConfigError, DataError
from mlplab.model.classifier import Classifier
from mlplab.randomness import Purpose, derive_many

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")  # the batches are in memory

IMAGES, LABELS = idx.patterned(200, seed=1)  # as written to train
IMAGES = IMAGES.unsqueeze(1)


def _images(datamodule: ImageDataModule, split: str) -> Tensor:
    return torch.cat([images for images, _ in datamodule.batches(split)])


def test_the_split_is_disjoint_and_complete(datamodule: ImageDataModule) -> None:
    train, val = set(datamodule.train_rows.tolist()), set(datamodule.val_rows.tolist())
    assert (len(train), len(val)) == (150, 50)
    assert train | val == set(range(200))


@pytest.mark.parametrize(("changed", "same"), [({"seed": 7}, True), ({"split_seed": 1}, False)])
def test_the_split_follows_split_seed_alone(
    datamodule: ImageDataModule, tiny_root: Path, changed: dict[str, int], same: bool
) -> None:
    other = mnist(tiny_root, **changed)
    assert torch.equal(datamodule.val_rows, other.val_rows) == same
    assert torch.equal(datamodule.train_rows, other.train_rows) == same


def test_batches_cover_each_split_once(datamodule: ImageDataModule) -> None:
    assert [len(labels) for _, labels in datamodule.train_dataloader()] == [32, 32, 32, 32, 22]
    for split, expected in (
        ("train", IMAGES[datamodule.train_rows]),
        ("val", IMAGES[datamodule.val_rows]),
        ("test", idx.patterned(50, seed=2)[0].unsqueeze(1)),
    ):
        found = _images(datamodule, split)
        assert torch.equal(torch.unique(found, dim=0), torch.unique(datamodule.normalized(expected), dim=0))
        assert len(found) == len(expected)


@pytest.mark.parametrize("batch_size", [1, 32, 150, 999])
def test_the_order_of_an_epoch_is_a_permutation(tiny_root: Path, batch_size: int) -> None:
    datamodule = mnist(tiny_root, batch_size=batch_size)
    orders = [datamodule.epoch_rows(epoch).tolist() for epoch in range(3)]
    assert orders[0] == datamodule.epoch_rows(0).tolist()
    for order in orders:
        assert sorted(order) == sorted(datamodule.train_rows.tolist())
        assert order != datamodule.train_rows.tolist()
    assert orders[0] != orders[1] != orders[2]


class Network(LightningModule):
    """A module other than `Classifier`, which is given images and labels; records them by stage."""

    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "val": [], "test": []}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.seen["train"].append(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.seen["val"].append(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.seen["test"].append(batch)

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.parametrize(
    ("batch_size", "length"), [(1, 3), (1, 1000), (7, 1), (7, 3), (20, 3), (32, 1000), (150, 1), (999, 1000)]
)
def test_blocks_are_the_batches_of_an_epoch(tiny_root: Path, batch_size: int, length: int) -> None:
    datamodule = mnist(tiny_root, batch_size=batch_size, augment={"shift": 1}, seed=3)
    rows, number = datamodule.epoch_rows(2).split(batch_size), 0
    for first in range(0, len(rows), length):
        for start, images, labels in datamodule.chunks(Block(first, min(length, len(rows) - first)), epoch=2):
            assert start == number
            for batch, own in zip(images, labels, strict=True):
                seed = derive_many(number + 1, 3, Purpose.AUGMENT, 2)[number]
                distorted = datamodule.distortion(IMAGES[rows[number]], seed)
                assert torch.equal(batch, datamodule.normalized(distorted))
                assert torch.equal(own, LABELS[rows[number]])
                number += 1
    assert number == len(rows) == datamodule.batches_per_epoch


@pytest.mark.parametrize("augment", [{}, {"shift": 2, "elastic_alpha": 8.0}])
@pytest.mark.filterwarnings("ignore:.*returned `None`")  # there is nothing to train
def test_each_epoch_has_its_order_and_batches_to_train_on_are_distorted_and_no_others(
    tiny_root: Path, trainer: MakeTrainer, augment: dict[str, Any]
) -> None:
    datamodule = mnist(tiny_root, augment=augment)
    plain, network = mnist(tiny_root), Network()
    make = trainer(max_epochs=2)
    make.fit(network, datamodule=datamodule)
    make.test(network, datamodule=datamodule, verbose=False)
    for split in ("val", "test"):
        batches = [*plain.batches(split)] * (2 if split == "val" else 1)
        torch.testing.assert_close(network.seen[split], batches, rtol=0, atol=0)
    assert [len(labels) for _, labels in network.seen["train"]] == [32, 32, 32, 32, 22] * 2
    for epoch in range(2):
        rows = plain.epoch_rows(epoch)
        images, labels = (torch.cat(parts) for parts in zip(*network.seen["train"][5 * epoch :][:5], strict=True))
        assert torch.equal(labels, LABELS[rows])
        untouched = plain.normalized(IMAGES[rows])
        is_moved = (images - untouched).abs().flatten(1).amax(dim=1) > (0.1 if augment else 0)
        assert is_moved.all() if augment else not is_moved.any()


def test_whole_images_are_given_before_during_and_after_training(tiny_root: Path, trainer: MakeTrainer) -> None:
    datamodule, splits = mnist(tiny_root, augment={"elastic_alpha": 8.0}), ("train", "val", "test")
    found = []

    class Looks(Callback):
        def setup(self, *_: object, **__: object) -> None:
            found.append([_images(datamodule, split) for split in splits])

        on_train_epoch_end = teardown = setup

    Looks().setup()
    trainer(max_epochs=2, callbacks=[Looks()]).fit(Classifier([4]), datamodule=datamodule)
    expected = [_images(mnist(tiny_root), split) for split in splits]
    for images in found:
        torch.testing.assert_close(images, expected, rtol=0, atol=0)
    assert len(found) == 1 + 1 + 2 + 1


def test_standard_is_mean_0_and_variance_1_over_the_training_images(tiny_root: Path) -> None:
    pixels = _images(mnist(tiny_root, val_size=0), "train").double()
    assert pixels.mean().item() == pytest.approx(0, abs=1e-6)
    assert pixels.var(correction=0).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("normalize", "lowest", "highest"), [("unit", 0, 1), ("symmetric", -1, 1)])
def test_ranges(tiny_root: Path, normalize: str, lowest: int, highest: int) -> None:
    datamodule = mnist(tiny_root, normalize=normalize)
    pixels = torch.arange(256.0).view(1, 1, 16, 16)
    for given in (pixels, pixels.to(torch.uint8)):
        found = datamodule.normalized(given)
        expected = lowest + (highest - lowest) * given.double() / 255
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected.float())
    assert pixels.flatten().tolist() == list(range(256))  # they stay


def test_no_validation_images(tiny_root: Path) -> None:
    datamodule = mnist(tiny_root, val_size=0)
    assert len(datamodule.train_rows) == 200
    assert datamodule.val_dataloader() == []
    with pytest.raises(ConfigError, match=r"data\.val_size=0"):
        next(datamodule.batches("val"))


@pytest.mark.parametrize(("val_size", "got"), [(200, "200"), (5000, "5000"), (0.998, "0.998 of them, 200")])
def test_training_images_must_be_left(tiny_root: Path, val_size: float, got: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.val_size: must be at most 199, .* got {got}$"):
        mnist(tiny_root, val_size=val_size)


def test_the_normalisation_of_the_training_is_kept_and_another_shape_refused(tiny_root: Path) -> None:
    trained_on = DatasetInfo((1, 28, 28), tuple("0123456789"), mean=0.1, std=0.3, object_size=20, centred_by_mass=True)
    datamodule, other = (ImageDataModule("mnist", str(tiny_root), val_size=0) for _ in range(2))
    datamodule.load_state_dict(asdict(trained_on))
    datamodule.setup()
    assert datamodule.info == trained_on
    other.load_state_dict(asdict(replace(trained_on, image_shape=(1, 14, 14))))
    with pytest.raises(DataError, match=r"\(1, 28, 28\), but the network was trained on \(1, 14, 14\)"):
        other.setup()


@pytest.mark.parametrize(("name", "folder"), [("mnist", "/some/where"), ("fashion", ""), ("digits", "/some/where")])
def test_defaults_are_those_of_the_command_line(
    composed: Compose, name: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLPLAB_DATA")
    if folder:
        monkeypatch.setenv("MLPLAB_DATA", folder)
    own = dict(ImageDataModule(name).hparams)
    chosen = composed(f"data={name}").data.model_dump()
    assert {key: own[key] for key in chosen} == chosen


USES: dict[str, Callable[[ImageDataModule], Any]] = {
    "info": lambda datamodule: datamodule.info.image_shape,
    "train_dataloader": lambda datamodule: next(iter(datamodule.train_dataloader()))[1].tolist(),
    "originals": lambda datamodule: datamodule.originals("test").sum(),
}


@pytest.mark.parametrize("use", USES)
def test_the_first_use_sets_it_up(datamodule: ImageDataModule, tiny_root: Path, use: str) -> None:
    fresh = ImageDataModule("mnist", tiny_root, val_size=50)
    assert USES[use](fresh) == USES[use](datamodule)


@pytest.mark.parametrize(
    "arguments",
    [
        {"normalize": "typo"},
        {"val_size": -1},
        {"val_size": 1.5},
        {"batch_size": 0},
        {"batch_size": 32.0},
        {"split_seed": -1},
        {"seed": None},
        {"name": "cifar"},
        {"root": "s3://mnist"},
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        ImageDataModule(**arguments)
