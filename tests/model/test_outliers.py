from pathlib import Path

import pytest
import torch
from conftest import Run

from mlplab.data import datasets
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import DataError
from mlplab.model.classifier import Classifier
from mlplab.model.outliers import Outliers
from mlplab.training import restore


def test_few_test_images_are_doubted_and_nearly_all_noise(digits_run: Run) -> None:
    unlike = Outliers(*restore.load(digits_run.folder))
    images = datasets.load("digits", Path()).test_images
    noise = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert unlike(images).double().mean() <= 0.05  # of 360; 200 validation images set the limit
    assert unlike(noise).double().mean() > 0.5
    assert not unlike(datasets.load("digits", Path()).train_images[:300]).double().mean() > 0.02


@pytest.mark.parametrize("hidden", [[], [16, 8]])
@pytest.mark.parametrize("val_size", [0, 50])
def test_the_distance_is_the_angle_to_the_nearest_training_image(
    hidden: list[int], val_size: int, tiny_root: Path
) -> None:
    classifier = Classifier(hidden).eval()
    datamodule = ImageDataModule("mnist", str(tiny_root), val_size=val_size)
    unlike = Outliers(classifier, datamodule)
    kept: list[torch.Tensor] = []
    list(classifier.mlp)[-1].register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    images = datamodule.train_data()[0]
    with torch.no_grad():
        classifier(datamodule.normalized(images))
    vectors = kept[0] / kept[0].norm(dim=1, keepdim=True)
    rows = datamodule.train_rows if val_size else datamodule.train_rows[:100]
    others = datamodule.val_rows if val_size else datamodule.train_rows[100:]
    nearest = (vectors @ vectors[rows].T).amax(dim=1)
    expected = nearest < nearest[others].quantile(0.01)
    clear = (nearest - nearest[others].quantile(0.01)).abs() > 1e-5
    assert torch.equal(unlike(images)[clear], expected[clear])


def test_without_the_data_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_root: Path) -> None:
    monkeypatch.setattr("mlplab.data.download.fetch", lambda *_: pytest.fail("fetched"))
    with pytest.raises(DataError, match=r"the data set mnist is not here\. Give its folder with --data-root"):
        Outliers(Classifier([8]), ImageDataModule("mnist", str(tmp_path)))
    assert not list(tmp_path.iterdir())
