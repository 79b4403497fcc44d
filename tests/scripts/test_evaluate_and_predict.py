"""evaluate.py, predict.py and show.py: what they say, and what they import."""

import json
import shutil
from pathlib import Path

import own_data
import pytest
import torch
from conftest import Program, Run, Script, imported
from PIL import Image

from mlplab.data import datasets
from mlplab.training import restore
from mlplab.training.run import Result


@pytest.mark.parametrize("word", ["its folder", "last"])
def test_evaluate_repeats_the_metrics_of_the_run(digits_run: Run, script: Script, tmp_path: Path, word: str) -> None:
    (tmp_path / "outputs").symlink_to(digits_run.folder.parents[1])
    finished = script("evaluate.py", "last" if word == "last" else digits_run.folder, "--json")
    assert finished.code == 0, finished.err
    found, metrics = json.loads(finished.out), digits_run.result["metrics"]
    assert found["metrics"]["test/acc"] == metrics["test/acc"]
    assert found["metrics"]["test/loss"] == pytest.approx(metrics["test/loss"], rel=1e-5)
    assert sum(figures["images"] for figures in found["classes"].values()) == 360
    assert sum(row[k] for k, row in enumerate(found["confusion"])) / 360 == metrics["test/acc"]


def test_predict_gives_one_object_per_image(digits_run: Run, script: Script, tmp_path: Path) -> None:
    dataset = datasets.load("digits", tmp_path)
    paths = [tmp_path / f"{row}.png" for row in range(10)]
    for path, image in zip(paths, dataset.test_images, strict=False):
        Image.fromarray(image[0].numpy()).save(path)
    finished = script("predict.py", digits_run.folder, *paths, "--json", "--background=dark")
    assert finished.code == 0, finished.err
    answers = json.loads(finished.out)

    classifier, datamodule = restore.load(digits_run.folder)
    expected = classifier.predict_step(datamodule.normalized(dataset.test_images[:10]))
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    for answer, row in zip(answers, expected, strict=True):
        assert set(answer) == {"path", "class", "probabilities"}
        assert list(answer["probabilities"]) == list("0123456789")
        probabilities = torch.tensor(list(answer["probabilities"].values()))
        assert probabilities.sum().item() == pytest.approx(1)
        torch.testing.assert_close(probabilities, row)
        assert answer["class"] == max(answer["probabilities"], key=answer["probabilities"].get)
    right = [int(answer["class"]) == label for answer, label in zip(answers, dataset.test_labels, strict=False)]
    assert sum(right) >= 8


def test_predict_reads_a_table_of_any_ending(digits_run: Run, script: Script, tmp_path: Path) -> None:
    images = datasets.load("digits", tmp_path).test_images[:6]
    rows = [[str(pixel) for pixel in image.flatten().tolist()] for image in images]
    for name in ("test.csv", "TEST.CSV"):
        own_data.write_csv(tmp_path / name, rows)
        finished = script("predict.py", digits_run.folder, tmp_path / name, "--json")
        assert finished.code == 0, finished.err
        assert [answer["path"] for answer in json.loads(finished.out)] == [
            f"{tmp_path / name}:{n}" for n in range(1, 7)
        ]


@pytest.mark.parametrize("name", ["evaluate.py", "predict.py"])
def test_what_is_no_run_ends_with_4(tmp_path: Path, script: Script, name: str) -> None:
    empty, garbage = tmp_path / "empty", tmp_path / "garbage.ckpt"
    empty.mkdir()
    garbage.write_bytes(b"garbage")
    for path in (tmp_path / "nothing", empty, garbage):
        finished = script(name, path, *(["image.png"] if name == "predict.py" else []))
        assert finished.code == 4
        assert str(path) in finished.err
        assert len(finished.err.splitlines()) <= 5
        assert "Traceback" not in finished.err


def test_evaluate_prints_a_table(digits_run: Run, script: Script) -> None:
    title, _, _, *rows = script("evaluate.py", digits_run.folder, "--split=val").out.splitlines()
    assert title.startswith(f"val accuracy {digits_run.result['metrics']['val/acc']:.2%}, loss ")
    assert [row.split()[0] for row in rows] == list("0123456789")
    assert sum(int(row.split()[1]) for row in rows) == 200


def test_predict_prints_the_classes_with_their_probabilities(digits_run: Run, tmp_path: Path, script: Script) -> None:
    path = tmp_path / "zero.png"
    Image.fromarray(datasets.load("digits", tmp_path).test_images[0, 0].numpy()).save(path)
    finished = script("predict.py", digits_run.folder, path, "--background=dark", "--top=2")
    shown, name, probability, _, other = finished.out.split()
    assert (shown, name) == (str(path), "0")
    assert 100 >= float(probability.rstrip("%")) >= float(other.rstrip("%")) >= 0


@pytest.mark.parametrize(
    ("script", "arguments", "code", "says"),
    [
        ("evaluate", ["run", "--data-root=nothing"], 3, "nothing/MNIST/raw: train-images-idx3-ubyte, "),
        ("evaluate", ["run/checkpoints/last.ckpt", "--data-root=nothing"], 3, "nothing/MNIST/raw: "),
        ("predict", ["run", "--test", "0", "--data-root=nothing"], 3, "nothing/MNIST/raw: "),
        ("evaluate", ["nowhere"], 4, "nowhere: does not exist."),
        ("predict", ["nowhere", "a.png"], 4, "nowhere: does not exist."),
        ("show", ["data.root=nothing"], 3, "nothing/MNIST/raw: "),
    ],
)
def test_scripts_say_at_once_what_is_missing(
    program: Program, tiny_run: Result, tmp_path: Path, script: str, arguments: list[str], code: int, says: str
) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(*arguments, script=f"scripts/{script}.py")
    said = [line for line in finished.err.splitlines() if not line.startswith("import time:")]
    assert (finished.code, finished.out) == (code, "")
    assert said[0].startswith(says)
    assert len(said) <= 5
    assert not imported(finished.err) & {"torch", "lightning", "numpy"}
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "run", "--csv=a.csv"],
        ["predict", "run", "a.png"],
        ["predict", "run", "--test=0"],
        ["export", "run", "--to=numpy"],
    ],
)
def test_an_answer_needs_torch_and_no_library_that_trains_or_draws(
    program: Program, digits_run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    shutil.copytree(digits_run.folder, tmp_path / "run")
    Image.linear_gradient("L").save(tmp_path / "a.png")
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(*arguments[1:], script=f"scripts/{arguments[0]}.py")
    assert finished.code == 0
    found = imported(finished.err)
    assert "torch" in found
    assert not found & {"lightning", "torchvision", "torchmetrics", "sklearn", "matplotlib", "hydra", "tensorboard"}


def test_a_data_set_is_shown_without_a_library_that_trains(program: Program) -> None:
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run("data=digits", script="scripts/show.py")
    assert finished.code == 0
    found = imported(finished.err)
    assert {"torch", "matplotlib"} <= found
    assert not found & {"lightning", "torchvision", "torchmetrics", "sklearn", "tensorboard"}
