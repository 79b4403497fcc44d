"""Whole runs on own data: the same weights from each layout, and pictures, predictions and reports that follow."""

import json
import shutil
from pathlib import Path

import numpy as np
import own_data
import pytest
import torch
from conftest import Compose, Script
from PIL import Image

from mlplab.cli.job import introduction
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import ConfigError, DataError
from mlplab.training import restore
from mlplab.training.build import build
from mlplab.training.run import train

TRAIN, TEST = own_data.made(60, seed=1), own_data.made(12, seed=2)
SHORT = ("trainer.max_epochs=2", "trainer.accelerator=cpu", "data.batch_size=8", "model.hidden=6", "show=none")


def test_a_folder_in_colour_from_training_to_prediction(composed: Compose, tmp_path: Path, script: Script) -> None:
    grey, labels = own_data.made(60, seed=3)
    colours = torch.stack([grey, 255 - grey, grey // 2], dim=1)[:, :, :, :6]  # 8 rows of 6 pixels
    own_data.write_folder(tmp_path / "pets", colours, labels, names=("cat", "dog", "a hamster"))
    given = ("data=folder", f"data.root={tmp_path / 'pets'}", "data.prepare=none", *SHORT, "show=all")
    config = composed(*given)
    assert introduction(config, tmp_path).startswith(
        "folder-pets, pixels-6-classes, Adam, batch 8, 2 epochs; run folder"
    )
    run = tmp_path / "run"
    train(config, run)
    result = json.loads((run / "result.json").read_text())
    assert (result["train_images"], result["val_images"]) == (43, 5)  # 48, of which a tenth is validated
    assert result["parameters"] == (3 * 8 * 6 + 1) * 6 + (6 + 1) * 3
    assert {path.name for path in run.glob("*.png")} == {"curves.png", "confusion.png", "mistakes.png"}
    ended = script("evaluate.py", run, "--json")
    assert list(json.loads(ended.out)["classes"]) == ["a hamster", "cat", "dog"]
    picture = tmp_path / "pets/cat/0.png"
    ended = script("predict.py", run, picture, "--json")
    probabilities = json.loads(ended.out)[0]["probabilities"]
    classifier, datamodule = restore.load(run)
    expected = classifier.predict_step(datamodule.normalized(colours[:1]))[0]
    assert list(probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    picture = shutil.copy(picture, tmp_path / "picture.png")  # not into the data
    assert script("predict.py", run, picture, "--show-input").code == 0
    with Image.open(f"{picture}.input.png") as image:
        assert np.array_equal(image, colours[0].permute(1, 2, 0))
    for name, options in (("predict.py", ("--background=dark", "--several")), ("explain.py", ("--background=dark",))):
        ended = script(name, run, picture, *options)
        assert (ended.code, ended.out) == (2, "")
        words = ", ".join(option.partition("=")[0] for option in options)
        assert ended.err.startswith(f"{words}: no effect for a run with data.prepare=none")
    ended = script("draw.py", run, "--no-open")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.endswith("Train one with data.prepare=mnist to draw for it.\n")
    Image.new("RGB", (9, 9)).save(tmp_path / "large.png")
    ended = script("predict.py", run, tmp_path / "large.png")
    assert (ended.code, "has 9x9 pixels, but the other images have 8x6" in ended.err) == (3, True)
    ended = script("show.py", *given[:3])
    assert ended.out.startswith(
        "folder-pets: 48 training images, 5 of them to validate, and 12 test images\n8x6 pixels in"
    )
    assert "the network gets 144 numbers" in ended.out


def test_a_table_without_labels_is_predicted(composed: Compose, tmp_path: Path, script: Script) -> None:
    own_data.write_csv(tmp_path / "digits/train.csv", own_data.rows_of(*TRAIN))
    table = own_data.write_csv(tmp_path / "digits/test.tsv", [row[1:] for row in own_data.rows_of(*TEST)], "\t")
    run = tmp_path / "run"
    train(composed("data=csv", f"data.root={tmp_path / 'digits'}", *SHORT), run)
    ended = script("predict.py", run, table, "--json")
    answers = json.loads(ended.out)
    assert [answer["path"] for answer in answers] == [f"{table}:{row}" for row in range(1, 13)]
    classifier, datamodule = restore.load(run)
    expected = classifier.predict_step(datamodule.normalized(TEST[0].unsqueeze(1))).argmax(dim=1)
    assert [int(answer["class"]) for answer in answers] == expected.tolist()


def test_batch_norm_is_refused_a_batch_of_one_image_once_the_data_are_known(composed: Compose, tmp_path: Path) -> None:
    own_data.write_idx(tmp_path / "idx", TRAIN, TEST)
    given = ("data=idx", f"data.root={tmp_path / 'idx'}", *SHORT, "model.batch_norm=true", "data.val_size=3")
    with pytest.raises(ConfigError, match=r"the last batch has one image, .* \(57 training images in batches of 8\)"):
        train(composed(*given), tmp_path / "run")


def test_a_class_without_a_training_image_is_named(composed: Compose, tmp_path: Path) -> None:
    """Of two images of a class, a third is to validate: with some seeds, both."""
    images, labels = own_data.made(32, seed=1, classes=2)
    labels[:2] = 2
    own_data.write_idx(tmp_path / "data", (images, labels), TEST)
    refused = []
    for seed in range(16):
        place = ("data.val_size=0.3", "data.prepare=none", f"data.split_seed={seed}", f"data.root={tmp_path / 'data'}")
        config = composed("data=idx", *place, *SHORT)
        dataset = ImageDataModule(**config.data.model_dump())
        true = dataset.train_data()[1]
        if 2 in true[dataset.train_rows]:
            build(config)
            continue
        refused.append(seed)
        with pytest.raises(DataError) as caught:
            build(config)
        says = "all images of the class 2 are among the 10 for validation, so none is left for training.\n"
        assert str(caught.value).startswith(f"{tmp_path / 'data'}: {says}")
        assert f"a data.split_seed other than {seed}, or a smaller data.val_size." in str(caught.value)
    assert 0 < len(refused) < 16


def test_own_data_in_two_places_are_two_runs(composed: Compose) -> None:
    one, other = (composed("data=folder", f"data.root={place}") for place in ("a", "b"))
    assert one.hash != other.hash
    assert composed("data.root=a").hash == composed("data.root=b").hash
