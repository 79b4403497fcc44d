"""Little data and wrong labels: `train_size` and `label_noise`."""

from pathlib import Path
from typing import Any

import idx
import own_data
import pytest
import torch
from conftest import mnist

from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import ConfigError, DataError

LABELS = idx.patterned(200, seed=1)[1].long()


@pytest.mark.parametrize(("size", "least"), [(10, 1), (57, 5), (100, 10)])
def test_train_size_has_equally_many_of_each_class(size: int, least: int, tiny_root: Path) -> None:
    whole, part = mnist(tiny_root), mnist(tiny_root, train_size=size)
    counts = LABELS[part.train_rows].bincount(minlength=10)
    assert counts.sum() == size
    assert set(counts.tolist()) <= {least, least + 1}
    assert torch.equal(part.val_rows, whole.val_rows)
    assert set(part.train_rows.tolist()) <= set(whole.train_rows.tolist())
    assert set(part.train_rows.tolist()) <= set(mnist(tiny_root, train_size=120).train_rows.tolist())
    assert sum(len(labels) for _, labels in part.batches("train")) == size


def test_more_images_than_a_class_has(tiny_root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.train_size: 150 images of 10 classes are 15 of each, but . has 1"):
        mnist(tiny_root, train_size=150)


@pytest.mark.parametrize(("noise", "train_size"), [(0.2, None), (0.5, 80), (0.9, None)])
def test_that_share_of_the_training_labels_is_wrong(noise: float, train_size: int | None, tiny_root: Path) -> None:
    module = mnist(tiny_root, label_noise=noise, train_size=train_size)
    _, labels = module.training_data(torch.device("cpu"))
    is_wrong = labels != LABELS
    assert is_wrong.sum() == is_wrong[module.train_rows].sum() == round(noise * len(module.train_rows))
    assert labels.unique().tolist() == list(range(10))
    assert torch.equal(mnist(tiny_root, label_noise=noise, train_size=train_size, seed=5).train_labels, labels)
    assert torch.equal(module.train_data()[1], LABELS)  # to evaluate by
    other = mnist(tiny_root, label_noise=noise, train_size=train_size, split_seed=1)
    assert not torch.equal(other.train_labels, labels)
    assert torch.equal(module.test_data()[1], idx.patterned(50, seed=2)[1].long())
    assert torch.equal(torch.cat([part for _, part in module.batches("val")]), LABELS[module.val_rows])


def test_more_noise_keeps_the_wrong_labels_of_less(tiny_root: Path) -> None:
    few, many = (mnist(tiny_root, label_noise=noise).train_labels for noise in (0.1, 0.4))
    assert torch.equal(few[few != LABELS], many[few != LABELS])


def test_a_fraction_is_of_the_images_that_are_there(tiny_root: Path) -> None:
    module = mnist(tiny_root, val_size=0.1)
    assert (len(module.val_rows), len(module.train_rows)) == (20, 180)


def test_test_images_set_aside_from_other_images_are_refused(tmp_path: Path) -> None:
    """The network was trained on some of these test images."""
    images, labels = own_data.made(30, seed=1)
    own_data.write_folder(tmp_path, images, labels)
    given: dict[str, Any] = {"name": "folder", "root": tmp_path, "prepare": "none"}
    state = ImageDataModule(**given).state_dict()
    later = ImageDataModule(**given)
    later.load_state_dict(state)
    assert len(later.test_data()[0]) == 6
    own_data.write_folder(tmp_path, 255 - images[:1], labels[:1])
    later = ImageDataModule(**given)
    later.load_state_dict(state)
    with pytest.raises(DataError, match="the images differ from those in training"):
        later.test_data()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"0": "cat"},
            "has classes that the network was not trained on: cat; it lacks classes the network was trained on: 0.",
        ),
        ({"2": ".hidden"}, "lacks classes the network was trained on: 2."),
    ],
)
def test_classes_that_are_not_those_of_the_network_are_named(change: dict[str, str], says: str, tmp_path: Path) -> None:
    own_data.write_folder(tmp_path, *own_data.made(30, seed=1))
    given: dict[str, Any] = {"name": "folder", "root": tmp_path, "prepare": "none"}
    state = ImageDataModule(**given).state_dict()
    for old, new in change.items():
        (tmp_path / old).rename(tmp_path / new)
    later = ImageDataModule(**given)
    later.load_state_dict(state)
    with pytest.raises(DataError) as caught:
        later.test_data()
    assert str(caught.value) == f"{tmp_path}: {says}\nGive the folder of its data set."
