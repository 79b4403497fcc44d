"""Tests on the official files, if the environment variable MLPLAB_DATA names their folder."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Compose

from mlplab.config.datasets import OFFICIAL_SIZE
from mlplab.data import datasets, framing
from mlplab.model.outliers import Outliers
from mlplab.training import restore
from mlplab.training.run import train

ROOT = Path(os.environ.get("MLPLAB_DATA", "")).expanduser()
FOLDERS = [ROOT / name / "raw" for name in ("MNIST", "FashionMNIST")]
FOUND = "MLPLAB_DATA" in os.environ and all((folder / name).exists() for folder in FOLDERS for name in OFFICIAL_SIZE)

pytestmark = [pytest.mark.real_data, pytest.mark.skipif(not FOUND, reason="MLPLAB_DATA names no folder with the files")]


@pytest.mark.parametrize(
    # the means and deviations that are quoted everywhere
    ("name", "mean", "std"),
    [("mnist", 0.1307, 0.3081), ("fashion", 0.2860, 0.3530)],
)
def test_the_official_data(name: str, mean: float, std: float) -> None:
    dataset = datasets.load(name, ROOT)
    assert dataset.train_images.shape == (60_000, 1, 28, 28)
    assert dataset.test_images.shape == (10_000, 1, 28, 28)
    assert (round(dataset.info.mean, 4), round(dataset.info.std, 4)) == (mean, std)
    if name == "fashion":
        assert dataset.train_labels.bincount().tolist() == [6_000] * 10
        assert dataset.test_labels.bincount().tolist() == [1_000] * 10
    else:
        assert dataset.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        assert dataset.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


@pytest.mark.parametrize(
    ("overrides", "least"),
    [(("data=mnist",), 0.94), (("data=mnist", "data.val_size=0"), 0.94), (("data=fashion",), 0.80)],
)
def test_one_epoch_learns_most_of_it_and_few_test_images_are_doubted(
    composed: Compose, tmp_path: Path, overrides: tuple[str, ...], least: float
) -> None:
    short = ("trainer.max_epochs=1", "data.batch_size=64", "show=none")
    metrics = train(composed(f"data.root={ROOT}", *short, *overrides), tmp_path).metrics
    assert metrics["test/acc"] > least
    assert abs(metrics["test/acc"] - metrics.get("val/acc", metrics["test/acc"])) < 0.03
    classifier, datamodule = restore.load(tmp_path)
    unlike = Outliers(classifier, datamodule)
    assert unlike(datamodule.test_data()[0]).double().mean() <= 0.02
    garments = datasets.load("fashion" if datamodule.name == "mnist" else "mnist", ROOT).test_images[:1000]
    assert unlike(garments).double().mean() > 0.5


@pytest.mark.parametrize(("name", "others"), [("mnist", 0), ("fashion", 20)])
def test_test_images_that_are_saved_as_files_stay_as_they_are(name: str, others: int) -> None:
    """Bright on black or dark on white, except garments that do not reach the edges of their frame."""
    dataset = datasets.load(name, ROOT)
    changed = {"dark": 0, "light": 0}
    for image in dataset.test_images[:, 0].numpy():
        for ground, picture in (("dark", image), ("light", 255 - image)):
            found = framing.things(picture, dataset.info)
            changed[ground] += len(found) != 1 or not np.array_equal(found[0].image, image)
    assert changed["dark"] <= others
    assert changed["light"] <= others
