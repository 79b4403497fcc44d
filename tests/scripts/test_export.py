"""export.py, and the table of evaluate.py."""

import csv
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Program, Run, Script, files_of, imported

from mlplab.data import datasets
from mlplab.model import evaluation
from mlplab.model.export import numpy_file
from mlplab.runs import atomic_write
from mlplab.runs.result import Result
from mlplab.training import restore

WRITES = {"onnx": ["network.onnx"], "torch": ["network.pt2"], "numpy": ["network.npz", "network.py"]}
SAME = "same probabilities as the network on 360 test images, within "


@pytest.fixture
def folder(digits_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_run.folder, tmp_path / "run"))


@pytest.mark.parametrize("to", WRITES)
def test_the_files_are_written_into_the_run_folder_and_replaced_there(script: Script, folder: Path, to: str) -> None:
    if to == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    before = files_of(folder)
    for _ in range(2):
        finished = script("export.py", folder, "--to", to)
        assert (finished.code, finished.err) == (0, "")
        *written, said = finished.out.splitlines()
        assert [line.split()[0] for line in written] == [f"run/{name}" for name in WRITES[to]]
        assert said.startswith(SAME)
        assert float(said.removeprefix(SAME)) <= 1e-5
        after = files_of(folder)
        assert after.keys() - before.keys() == set(WRITES[to])
        assert {name: after[name] for name in before} == before


def test_an_exported_file_gives_the_answers_of_its_weights(script: Script, folder: Path, tmp_path: Path) -> None:
    last = folder / "checkpoints" / "last.ckpt"
    finished = script("export.py", "--to=numpy", last, "--out", "here.npz")
    assert [line.split()[0] for line in finished.out.splitlines()[:2]] == ["here.npz", "here.py"]
    images = datasets.load("digits", tmp_path).test_images
    predictor, dataset = restore.load(last)
    expected = predictor.predict_step(dataset.normalized(images)).detach().numpy()
    assert np.abs(numpy_file.probabilities(tmp_path / "here.npz", images[:, 0].numpy()) - expected).max() < 1e-5
    assert script("export.py", last, "--to=numpy").code == 0
    assert (folder / "last_network.py").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "--to", "tflite"], 2, "invalid choice: 'tflite'"),
        (["run"], 2, "required: --to"),
        (["nowhere", "--to=numpy"], 4, "nowhere: does not exist."),
        (["run", "--to=numpy", "--out=a.onnx"], 2, "--out: must end with .npz for --to numpy, got a.onnx\n"),
        (["run", "--to=torch", "--out=b/a.pt2"], 2, "--out: there is no folder b.\n"),
        (["run", "--to=torch", "--out=folder.pt2"], 2, "--out: folder.pt2 is a folder. Give a file.\n"),
        (["run", "--to=torch", "--out=mine.pt2"], 2, "mine.pt2, which mlplab did not write and will not replace."),
        (["run", "--to=numpy", "--out=mine.npz"], 2, "mine.py, which mlplab did not write and will not replace."),
    ],
)
def test_a_mistake_is_reported_at_once_and_nothing_is_written(
    program: Program, folder: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "folder.pt2").mkdir()
    for name in ("mine.pt2", "mine.py"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 a person's")
    before = files_of(tmp_path)
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(*arguments, script="scripts/export.py")
    assert (finished.code, finished.out) == (code, "")
    assert says in finished.err
    assert not imported(finished.err) & {"torch", "numpy"}
    assert files_of(tmp_path) == before


def test_a_missing_extra_is_named(script: Script, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name))
    finished = script("export.py", folder, "--to=onnx")
    assert finished.err == "--to onnx: onnx and onnxruntime not installed: pip install -e '.[export]'\n"
    assert (finished.code, finished.out) == (2, "")


def test_a_damaged_checkpoint_is_refused(script: Script, folder: Path) -> None:
    best = folder / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:-100])
    finished = script("export.py", folder, "--to=numpy")
    assert (finished.code, finished.out) == (4, "")
    assert finished.err.startswith(f"{best}: truncated, damaged or not a checkpoint")
    assert not (folder / "network.npz").exists()


def test_a_network_that_gives_no_numbers_is_refused(script: Script, folder: Path) -> None:
    best = folder / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    content["state_dict"]["mlp.logits.bias"][0] = torch.nan
    torch.save(content, best)
    finished = script("export.py", folder, "--to=numpy")
    assert (finished.code, finished.out) == (4, "")
    assert finished.err.startswith(f"{folder}: the probabilities of the export differ from the network's by nan, ")
    assert not (folder / "network.npz").exists()


def test_without_the_data_set_it_is_compared_on_random_pixels(script: Script, tiny_run: Result, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    finished = script("export.py", "run", "--to=numpy", "--data-root", "nothing")
    assert finished.code == 0
    assert finished.err == (
        "Not compared on test images. nothing: the data set mnist is not here. Give its folder with --data-root.\n"
    )
    assert "on 1,000 images of random pixels, within " in finished.out


@pytest.mark.parametrize("split", ["test", "val", "train"])
def test_the_table_has_a_row_for_each_image(script: Script, folder: Path, tmp_path: Path, split: str) -> None:
    for _ in range(2):  # an own table is replaced
        finished = script("evaluate.py", folder, "--split", split, "--csv", "answers.csv")
        assert (finished.code, finished.err) == (0, "answers.csv\n")
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    loaded = datasets.load("digits", tmp_path)
    test = loaded.test_images, loaded.test_labels
    images, labels = test if split == "test" else (loaded.train_images, loaded.train_labels)
    predictor, dataset = restore.load(folder)
    numbers = [int(row["number"]) for row in rows]
    chosen = {"test": range(360), "val": dataset.val_rows.tolist(), "train": dataset.train_rows.tolist()}[split]
    assert sorted(numbers) == sorted(chosen)
    expected = predictor.predict_step(dataset.normalized(images[numbers]))
    assert [row["true"] for row in rows] == [str(label) for label in labels[numbers].tolist()]
    assert [row["answer"] for row in rows] == [str(k) for k in expected.argmax(dim=1).tolist()]
    found = torch.tensor([[float(row[f"p_{k}"]) for k in range(10)] for row in rows])
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_table_of_a_person_is_not_replaced(
    script: Script, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.csv").write_text("number,answer\n")
    monkeypatch.setattr(evaluation, "score", lambda *_: pytest.fail("it was computed first"))
    finished = script("evaluate.py", folder, "--csv", "mine.csv")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == ".: holds mine.csv, which mlplab did not write and will not replace. Move it.\n"
    assert (tmp_path / "mine.csv").read_text() == "number,answer\n"


def test_a_full_disk_is_named(script: Script, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_write, "write", refuse)
    for arguments in (["export.py", folder, "--to=numpy"], ["evaluate.py", folder, "--csv=a.csv"]):
        finished = script(*arguments)
        assert finished.code == 2
        assert "cannot be written: No space left on device" in finished.err
        assert len(finished.err.splitlines()) == 1
