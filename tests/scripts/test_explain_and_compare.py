"""explain.py and compare.py, in the process of the tests."""

import json
import re
import shutil
from pathlib import Path

import idx
import numpy as np
import pytest
import torch
from conftest import Compose, Drawn, Program, Run, Script, imported, note
from PIL import Image
from test_scripts import is_picture

from mlplab.data import datasets
from mlplab.model.explanation import Explainer
from mlplab.plots import comparison, explanation
from mlplab.training import restore
from mlplab.training.run import Result, train


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return note(monkeypatch, explanation, "explanation") | note(monkeypatch, comparison, "comparison")


@pytest.fixture
def digits(digits_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_run.folder, tmp_path / "run"))


@pytest.fixture(scope="session")
def other_run(tiny: Compose, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run like `tiny_run`, of another network."""
    return train(
        tiny("model.hidden=[12]", "seed=3", "optimizer=sgd", "optimizer.lr=0.005"), tmp_path_factory.mktemp("other")
    )


def test_each_test_image_has_its_explanation(digits: Path, script: Script, drawn: Drawn) -> None:
    finished = script("explain.py", "--test", 3, 5, digits)
    assert finished.code == 0, finished.err
    assert finished.err.splitlines() == ["run/explain_test_3.png", "run/explain_test_5.png"]
    assert all(is_picture(digits / f"explain_test_{number}.png") for number in (3, 5))
    classifier, datamodule = restore.load(digits)
    test, training = datasets.load("digits", digits), datasets.load("digits", digits)
    lines = finished.out.splitlines()
    assert len(lines) == 6
    result = json.loads((digits / "result.json").read_text())
    for place, number in enumerate((3, 5)):
        reasons, classes, title, about = drawn["explanation"][place]
        assert title == f"digits, 64-128-10, test {100 * result['metrics']['test/acc']:.2f} %"
        assert about.startswith(f"test/{number}: true class {test.test_labels[number]}, weights of epoch ")
        image = test.test_images[number]
        probabilities = classifier.predict_step(datamodule.normalized(image[None]))[0].detach()
        assert np.array_equal(reasons.image, image)
        assert np.allclose(reasons.probabilities, probabilities)
        assert reasons.truth == test.test_labels[number]
        assert list(reasons.classes) == probabilities.argsort(descending=True)[:2].tolist()
        assert np.array_equal(reasons.neighbours, training.train_images[list(reasons.numbers)])
        assert list(reasons.labels) == training.train_labels[list(reasons.numbers)].tolist()
        changed = torch.from_numpy(reasons.changed)[None]
        now = classifier.predict_step(datamodule.normalized(changed))[0].detach()
        assert int(now.argmax()) == reasons.new != reasons.classes[0]
        assert float(now.max()) == pytest.approx(reasons.new_probability)
        of_image, near, change = lines[3 * place : 3 * place + 3]
        best = classes[reasons.classes[0]]
        assert of_image.startswith(f"test/{number}  {best} {float(probabilities.max()):.1%}   ")
        assert of_image.endswith(f"   (it is {test.test_labels[number]})")
        assert [int(n) for n in re.findall(r"\b\d+\b", near.rpartition(": ")[2])][:1] == reasons.numbers[:1]
        levels = (reasons.changed.astype(float) - reasons.image) / 255
        assert change.startswith(f"  smallest change: {np.sqrt((levels**2).sum()):.3f} (L2, pixels from 0 to 1), ")
        assert change.endswith(f"; then {classes[reasons.new]} {float(now.max()):.1%}")


def test_files_are_explained_and_bad_ones_reported(digits: Path, script: Script, drawn: Drawn, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "zero.png", tmp_path / "a" / "zero.png"):
        Image.fromarray(datasets.load("digits", tmp_path).test_images[0, 0].numpy()).save(path)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    finished = script("explain.py", digits, "zero.png", "table.csv", "--background", "dark", "a/zero.png")
    assert finished.code == 3
    *paths, mistake = finished.err.splitlines()
    assert paths == ["run/explain_zero.png", "run/explain_zero_2.png"]
    assert mistake.startswith("table.csv: not an image that can be read: a CSV table")
    assert [line.split()[:2] for line in finished.out.splitlines()[::3]] == [["zero.png", "0"], ["a/zero.png", "0"]]
    assert drawn["explanation"][0][0].truth is None
    assert drawn["explanation"][0][3].startswith("zero.png: weights of epoch ")


def test_no_two_explanations_have_one_name(digits: Path, script: Script, drawn: Drawn, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("x/a.png", "y/a.png", "a_2.png", "z/a.png")]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(datasets.load("digits", tmp_path).test_images[number, 0].numpy()).save(path)
    finished = script("explain.py", digits, *paths, "--background", "dark")
    assert finished.err.splitlines() == [f"run/explain_{name}.png" for name in ("a", "a_2", "a_2_2", "a_3")]
    assert len(drawn["explanation"]) == 4


def test_without_the_data_there_are_no_neighbours(
    tiny_run: Result, script: Script, drawn: Drawn, tmp_path: Path, tiny_root: Path
) -> None:
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    Image.fromarray(datasets.load("mnist", tiny_root).test_images[0, 0].numpy()).save(tmp_path / "digit.png")
    finished = script("explain.py", folder, "digit.png", "--data-root", tmp_path / "none", "--background=dark")
    assert finished.code == 0, finished.err
    assert finished.err.startswith(f"Without the nearest training images: {tmp_path}/none: the data set mnist is not ")
    assert len(finished.out.splitlines()) == 2
    assert len(drawn["explanation"][0][0].neighbours) == 0


def test_an_answer_that_cannot_be_turned_is_explained_all_the_same(
    digits: Path, script: Script, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explainer, "smallest_change", lambda *_: None)
    finished = script("explain.py", digits, "--test", 0)
    assert finished.code == 0, finished.err
    assert finished.out.splitlines()[-1] == "  smallest change: none was found that flips the answer"
    assert drawn["explanation"][0][0].changed is None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "give image files, or --test with numbers, for example --test 0 8"),
        (("a.png", "--test", "1"), 2, "give image files, or --test with numbers, for example --test 0 8"),
        (("--test", "0", "360"), 2, "--test: must be from 0 to 359, got 360"),
        (("--test", "-1"), 2, "--test: must be from 0 to 359, got -1"),
        (("--test", "1", "--background", "light"), 2, "--background: no effect with --test"),
        (("nothing.png",), 3, "nothing.png: does not exist"),
    ],
)
def test_explain_refuses_what_is_not_there(
    digits: Path, script: Script, arguments: tuple[str, ...], code: int, says: str
) -> None:
    finished = script("explain.py", digits, *arguments)
    assert (finished.code, finished.out) == (code, "")
    assert says in finished.err
    assert not list(digits.glob("explain*"))


def test_a_foreign_picture_is_not_replaced(digits: Path, script: Script) -> None:
    (digits / "explain_test_0.png").write_bytes(b"mine")
    finished = script("explain.py", digits, "--test", 0)
    assert finished.code == 2
    assert finished.err.startswith(f"{digits}: holds explain_test_0.png, which mlplab did not write")
    assert (digits / "explain_test_0.png").read_bytes() == b"mine"


def test_two_runs_are_compared_on_the_same_images(
    tiny_run: Result, other_run: Result, script: Script, drawn: Drawn, tmp_path: Path, tiny_root: Path
) -> None:
    first = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    finished = script("compare.py", first, other_run.folder)
    assert finished.code == 0, finished.err
    name = f"compare_{other_run.folder.name}.png"
    assert finished.err == f"run/{name}\n"
    assert is_picture(first / name)
    names, configuration, figures, verdict, by_class = finished.out.strip().split("\n\n")
    assert names == f"1: run\n2: {other_run.folder}"
    rows = [line.split() for line in configuration.splitlines()]
    assert ["model.hidden", "16", "12"] in rows
    assert ["seed", "0", "3"] in rows
    assert ["optimizer.name", "Adam", "SGD"] in rows
    assert ["optimizer.momentum", "-", "0.9"] in rows
    assert not any("amsgrad" in line or "trainer" in line for line in configuration.splitlines())

    dataset, right, answers = datasets.load("mnist", tiny_root), [], []
    for folder in (first, other_run.folder):
        classifier, datamodule = restore.load(folder)
        answers.append(classifier.predict_step(datamodule.normalized(dataset.test_images)).detach().max(dim=1))
        right.append(answers[-1].indices == dataset.test_labels)
    for column, run in enumerate((tiny_run, other_run)):
        acc = next(line for line in figures.splitlines() if line.startswith("test accuracy"))
        assert f"{100 * run.metrics['test/acc']:.2f} (" in re.split(r"  +", acc)[1 + column]
    only = [(right[0] & ~right[1]).nonzero().flatten(), (right[1] & ~right[0]).nonzero().flatten()]
    assert min(map(len, only)) > 0
    assert verdict.startswith(f"{len(only[0])} images only 1 gets right, {len(only[1])} only 2: ")
    assert verdict.endswith(" (McNemar's exact test)")
    for k, line in enumerate(by_class.splitlines()[1:]):
        of_class = dataset.test_labels == k
        counts = [int(of_class[rows].sum()) for rows in only]
        shares = [f"{100 * float(part[of_class].double().mean()):.2f}" for part in right]
        assert line.split() == [str(k), str(int(of_class.sum())), *shares, *map(str, counts)]

    sides, classes, title, about = drawn["comparison"][-1]
    assert tuple(classes) == dataset.info.classes
    accs = [f"{100 * run.metrics['test/acc']:.2f} %" for run in (tiny_run, other_run)]
    assert title == f"mnist, 784-16-10, test {accs[0]} | mnist, 784-12-10, test {accs[1]}"
    assert f"1: weights of epoch {tiny_run.best_epoch}, run run\n2: " in about
    for side, rows_of_side, wrong in zip(sides, only, reversed(answers), strict=True):
        assert sorted(side.numbers) == rows_of_side.tolist()
        assert np.array_equal(side.images, dataset.test_images[list(side.numbers)[:16]])
        assert list(side.truths) == dataset.test_labels[list(side.numbers)].tolist()
        assert list(side.mistakes) == wrong.indices[list(side.numbers)].tolist()
        sureness = wrong.values[list(side.numbers)]
        assert bool((sureness.diff() <= 0).all())


def test_what_a_run_does_not_set_has_the_default_of_torch(
    tiny_run: Result, tiny: Compose, script: Script, tmp_path: Path
) -> None:
    first = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    other = train(tiny("+optimizer.betas=[0.8,0.999]", "+optimizer.eps=1e-8"), tmp_path / "other")
    finished = script("compare.py", first, other.folder)
    configuration = finished.out.split("\n\n")[1].splitlines()[1:]
    assert [re.split(r"  +", line) for line in configuration] == [["optimizer.betas", "0.9,0.999", "0.8,0.999"]]


def test_a_run_compared_with_itself_differs_in_nothing(digits: Path, script: Script) -> None:
    finished = script("compare.py", digits, digits)
    assert finished.code == 0, finished.err
    assert "The configurations are equal." in finished.out
    assert "0 images only 1 gets right, 0 only 2: they cannot be told apart, p = 1.000" in finished.out


def test_runs_of_different_data_sets_are_refused_before_torch(
    digits_run: Run, tiny_run: Result, program: Program
) -> None:
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(digits_run.folder, tiny_run.folder, script="scripts/compare.py")
    said = [line for line in finished.err.splitlines() if not line.startswith("import time:")]
    assert (finished.code, finished.out) == (2, "")
    assert said == ["One run is of digits, the other of mnist: give two runs of the same data set."]
    assert not imported(finished.err) & {"torch", "lightning"}


def test_checkpoints_of_different_data_sets_are_refused(
    digits: Path, tiny_run: Result, script: Script, tmp_path: Path
) -> None:
    shutil.copy(tiny_run.folder / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    finished = script("compare.py", digits, tmp_path / "alone.ckpt")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == "One run is of digits, the other of mnist: give two runs of the same data set.\n"


def test_runs_with_other_test_images_are_refused(
    tiny_run: Result, tiny: Compose, script: Script, tmp_path: Path
) -> None:
    idx.write(tmp_path / "elsewhere", test=40)
    other = train(tiny(f"data.root={tmp_path / 'elsewhere'}"), tmp_path / "other")
    finished = script("compare.py", tiny_run.folder, other.folder)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == ("The runs have different test images or classes: give two runs of the same data set.\n")


def test_compare_names_what_is_no_run(digits: Path, script: Script, tmp_path: Path) -> None:
    finished = script("compare.py", digits, tmp_path / "nothing")
    assert (finished.code, finished.out) == (4, "")
    assert finished.err.startswith(f"{tmp_path}/nothing: does not exist.")
