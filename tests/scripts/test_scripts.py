"""show.py, and the pictures of predict.py and evaluate.py."""

import json
import shutil
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Drawn, Script, note
from PIL import Image, ImageDraw

from mlplab.data import datasets, image_files
from mlplab.model import evaluation, outliers
from mlplab.plots import dataset, predictions, run
from mlplab.training import restore
from mlplab.training.run import Result

Call = Callable[..., tuple[int, str, str]]  # exit code, standard output and standard error


@pytest.fixture
def call(script: Script) -> Call:
    return lambda *arguments: astuple(script(*arguments))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Arguments of each figure."""
    return (
        note(monkeypatch, dataset, "examples", "pixels", "counts", "means", "histogram")
        | note(monkeypatch, run, "confusion", "mistakes")
        | note(monkeypatch, predictions, "predictions")
    )


@pytest.fixture
def folder(tiny_run: Result, tmp_path: Path) -> Path:
    """A copy of a run, for pictures."""
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    picture = Image.new("L", (300, 300), 230)
    ImageDraw.Draw(picture).line([(60, 60), (220, 60), (120, 250)], fill=30, width=16)
    picture.save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def is_picture(path: Path) -> bool:
    with Image.open(path) as image:
        return image.format == "PNG" and image.width > 500


def test_show_draws_a_data_set(call: Call, drawn: Drawn, tiny_root: Path, tmp_path: Path) -> None:
    overrides = ("data=fashion", f"data.root={tiny_root}", "data.val_size=50", "data.normalize=symmetric")
    code, out, err = call("show.py", *overrides, "--image=7")
    assert (code, err) == (0, "")
    dataset = datasets.load("fashion", tiny_root)
    names = ["examples.png", "pixels.png", "counts.png", "means.png", "histogram.png"]
    assert out.splitlines()[-5:] == [f"outputs/data/fashion/{name}" for name in names]
    assert all(is_picture(tmp_path / "outputs/data/fashion" / name) for name in names)
    assert out.startswith("fashion: 200 training images, 50 of them to validate, and 50 test images\n")
    assert "784 numbers from -1.000 to 1.000 (data.normalize=symmetric)" in out
    counts = dataset.train_labels.bincount(minlength=10).tolist()
    rows = [line for line in out.splitlines() if line.startswith("Ankle boot")]
    assert rows[0].split()[2] == str(counts[9])
    image, title = drawn["pixels"][-1]
    assert np.array_equal(np.squeeze(image), dataset.train_images[7, 0].numpy())
    assert title == f"fashion, training image 7: {dataset.info.classes[dataset.train_labels[7]]}"
    assert np.array_equal(drawn["counts"][-1][1], dataset.test_labels.numpy())
    assert drawn["examples"][-1][2] == dataset.info.classes


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["data=fashon"],
            2,
            "data=fashon: unknown, must be one of csv, digits, emnist, fashion, folder, idx, kmnist, mnist, qmnist;",
        ),
        (["data=digits", "--image=1437"], 2, "--image: must be from 0 to 1436, got 1437"),
        (["data=digits", "--image=-1"], 2, "--image: must be from 0 to 1436, got -1"),
        (["resume=outputs/a", "data=digits"], 2, "resume=outputs/a: has no effect on these pictures. Give data=..., "),
        (["augment=shift"], 2, "augment=shift: has no effect on these pictures. "),
        (["seed=1", "data.batch_size=8"], 2, "seed=1, data.batch_size=8: has no effect on these pictures. "),
        (["data.normalise=unit"], 2, "data.normalise: unknown key; did you mean data.normalize?"),
    ],
)
def test_show_refuses_what_it_does_not_use(
    call: Call, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    ended, out, err = call("show.py", *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(says)
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_options_of_show_may_stand_anywhere(call: Call, drawn: Drawn) -> None:
    code, _, err = call("show.py", "data=digits", "--image", 3, "data.normalize=unit")
    assert (code, err) == (0, "")
    assert drawn["pixels"][-1][1].startswith("digits, training image 3: ")


def test_show_names_what_cannot_be_written(call: Call, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    code, _, err = call("show.py", "data=digits")
    assert code == 4
    assert err == "outputs/data/digits: the pictures cannot be written: Not a directory.\n"


def test_predict_draws_images_of_the_test_set(
    call: Call, drawn: Drawn, folder: Path, tiny_root: Path, tmp_path: Path
) -> None:
    code, out, err = call("predict.py", folder, "--test", 3, 1, "--picture", "--data-root", tiny_root)
    assert (code, err) == (0, "run/predictions.png\n")
    assert is_picture(folder / "predictions.png")
    images, probabilities, classes, names, labels, title, about = drawn["predictions"][-1]
    classifier, datamodule = restore.load(folder)
    dataset = datasets.load("mnist", tiny_root)
    expected = classifier.predict_step(datamodule.normalized(dataset.test_images[[3, 1]]))
    assert np.array_equal(images, dataset.test_images[[3, 1]].numpy())
    assert labels == dataset.test_labels[[3, 1]].tolist()
    assert np.allclose(probabilities, expected.detach().numpy())
    truths = [dataset.info.classes[dataset.test_labels[place]] for place in (3, 1)]
    result = json.loads((folder / "result.json").read_text())
    assert title == f"mnist, 784-16-10, test {100 * result['metrics']['test/acc']:.2f} %"
    assert about == f"predictions, weights of epoch {result['best_epoch']}, run run"
    assert list(names) == [f"test/{n}: true class {truth}" for n, truth in zip((3, 1), truths, strict=True)]
    assert tuple(classes) == dataset.info.classes
    first, second = out.splitlines()
    assert first.startswith(f"test/3  {classes[int(expected[0].argmax())]} ")
    assert second.endswith(f"   (it is {truths[1]})")


def test_predict_draws_image_files_with_json(
    call: Call, drawn: Drawn, folder: Path, tiny_root: Path, tmp_path: Path
) -> None:
    Image.fromarray(datasets.load("mnist", tiny_root).test_images[0, 0].numpy()).save(tmp_path / "digit.png")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    code, out, err = call("predict.py", checkpoint, "digit.png", "--picture", "--json", "--background=dark")
    assert (code, err) == (0, "run/last_predictions.png\n")
    (answer,) = json.loads(out)
    assert answer["path"] == "digit.png"
    assert list(answer["probabilities"].values()) == pytest.approx(drawn["predictions"][-1][1][0].tolist())
    assert list(drawn["predictions"][-1][3]) == ["digit.png"]
    assert drawn["predictions"][-1][4:] == (None, "mnist, 784-16-10", "predictions, weights of epoch 2, run run")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give image files, or --test with indices, for example --test 0 8"),
        (("a.png", "--test", "1"), "give image files, or --test with indices, for example --test 0 8"),
        (("--test", "0", "50"), "--test: must be from 0 to 49, got 50"),
        (("--test", "-1"), "--test: must be from 0 to 49, got -1"),
        (("seven.png", "--json", "--top", "2"), "--top: has no effect with --json, which has the probabilities of all"),
        (("--test", "1", "--background", "light"), "--background: no effect with --test"),
        (("--test", "1", "--several", "--show-input"), "--several, --show-input: no effect with --test"),
    ],
)
def test_predict_needs_images_and_options_that_have_an_effect(
    call: Call, folder: Path, seven: Path, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = call("predict.py", folder, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert not (folder / "predictions.png").exists()


def test_options_of_predict_may_stand_anywhere(call: Call, folder: Path, seven: Path) -> None:
    expected = call("predict.py", folder, "seven.png", "seven.png", "--background", "light", "--top", 2)
    assert expected[0] == 0
    assert call("predict.py", folder, "--background", "light", "seven.png", "--top", 2, "seven.png") == expected
    assert call("predict.py", "--top=2", folder, "seven.png", "--background=light", "seven.png") == expected
    places = call("predict.py", folder, "--test", 3, 1)
    assert places[0] == 0
    assert call("predict.py", "--test", 3, 1, folder) == places


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_bad_file_does_not_silence_the_others(
    call: Call, folder: Path, seven: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    code, out, err = call("predict.py", folder, "table.csv", "seven.png", "nothing.png", *options)
    assert (code, len(err.splitlines())) == (3, 2)
    assert err.startswith("table.csv: row 1 has 2 columns; expected a label and the pixels")
    assert err.splitlines()[1].startswith("nothing.png: does not exist")
    shown = (
        [answer["path"] for answer in json.loads(out)] if options else [line.split()[0] for line in out.splitlines()]
    )
    assert shown == ["seven.png"]


def test_predict_writes_what_the_network_sees_and_replaces_only_that(call: Call, folder: Path, seven: Path) -> None:
    written = seven.with_name("seven.png.input.png")
    for _ in range(2):
        assert call("predict.py", folder, "seven.png", "--show-input")[0] == 0
    with Image.open(written) as image:
        expected, _ = image_files.read(seven, restore.load(folder)[1].info)
        assert np.array_equal(np.asarray(image), expected[0, 0].numpy())
    shutil.copy(seven, written)
    code, out, err = call("predict.py", folder, "seven.png", "--show-input")
    assert (code, out) == (3, "")
    assert err == ".: holds seven.png.input.png, which mlplab did not write and will not replace. Move it.\n"
    assert written.read_bytes() == seven.read_bytes()


def test_separate_things_are_counted_and_read(call: Call, folder: Path, seven: Path) -> None:
    one = np.asarray(Image.open(seven))
    Image.fromarray(np.concatenate([one, one], axis=1)).save(seven.with_name("two.png"))
    code, out, _ = call("predict.py", folder, "two.png", "--top", 1)
    assert (code, out.split()[:4]) == (0, ["two.png", "2", "separate", "things,"])
    (answer,) = json.loads(call("predict.py", folder, "two.png", "--json")[1])
    assert answer["doubt"] == "2 separate things"
    (alone,) = json.loads(call("predict.py", folder, "seven.png", "--json")[1])
    answers = json.loads(call("predict.py", folder, "two.png", "--json", "--several")[1])
    assert [(answer["path"], answer["thing"]) for answer in answers] == [("two.png", 1), ("two.png", 2)]
    assert [answer["class"] for answer in answers] == [alone["class"]] * 2


def test_images_unlike_the_training_images_are_doubted(
    call: Call, folder: Path, seven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outliers.Outliers, "__call__", lambda _, images: images.flatten(1).any(dim=1))
    code, out, _ = call("predict.py", folder, "seven.png")
    assert code == 0
    assert out.startswith("seven.png  unlike the training images; if anything: ")
    (answer,) = json.loads(call("predict.py", folder, "seven.png", "--json")[1])
    assert answer["doubt"] == "unlike the training images"


def test_without_the_data_set_predictions_are_not_compared(
    call: Call, folder: Path, seven: Path, tmp_path: Path
) -> None:
    code, out, err = call("predict.py", folder, "seven.png", "--data-root", tmp_path / "none")
    assert code == 0
    assert out.startswith("seven.png  ")
    assert err.startswith(f"Not compared with the training images. {tmp_path}/none: the data set mnist is not here.")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("split", "prefix"), [("test", ""), ("val", "val_"), ("train", "train_")])
def test_evaluate_draws_what_it_scores(
    call: Call, drawn: Drawn, folder: Path, tiny_root: Path, split: str, prefix: str
) -> None:
    code, out, err = call("evaluate.py", folder, f"--split={split}", "--pictures")
    assert code == 0
    assert out.startswith(f"{split} accuracy ")
    assert err.splitlines() == [f"run/{prefix}confusion.png", f"run/{prefix}mistakes.png"]
    assert is_picture(folder / f"{prefix}confusion.png")
    assert is_picture(folder / f"{prefix}mistakes.png")
    classifier, datamodule = restore.load(folder)
    datamodule.setup()
    scores = evaluation.score(classifier, datamodule.batches(split))
    assert drawn["confusion"][-1][0].tolist() == scores.confusion.tolist()
    images, labels, predicted, probabilities, _, title, places, about, number = drawn["mistakes"][-1]
    assert title == f"mnist, 784-16-10, {split} {100 * scores.acc:.2f} %"
    assert about.startswith(f"{split} images, weights of epoch ")
    assert ("--test" in number) == (split == "test")
    assert np.array_equal(images.reshape(-1, 28, 28), datamodule.originals(split)[places, 0].numpy())
    with torch.no_grad():
        again = classifier.predict_step(datamodule.normalized(torch.from_numpy(images).unsqueeze(1)))
    assert np.allclose(again.max(dim=1).values.numpy(), probabilities, atol=1e-6)
    assert again.argmax(dim=1).tolist() == list(predicted)
    assert all(true != said for true, said in zip(labels, predicted, strict=True))


def test_pictures_of_other_weights_have_other_names(call: Call, drawn: Drawn, folder: Path, tiny_root: Path) -> None:
    code, _, err = call("evaluate.py", folder / "checkpoints" / "last.ckpt", "--pictures")
    assert code == 0
    assert err.splitlines() == ["run/last_confusion.png", "run/last_mistakes.png"]
    assert drawn["confusion"][-1][3] == "test images, weights of epoch 2, run run"
