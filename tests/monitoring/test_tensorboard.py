"""Contents of TensorBoard and of a run's folder, read back and compared with computed values."""

import json
import math
import re
import shlex
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import states
import torch
import yaml
from conftest import Compose, Drawn, note
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util.tensor_util import make_ndarray
from torch import Tensor
from torch.nn import functional as F

from mlplab.config.schema import Show
from mlplab.data import datasets
from mlplab.data.blocks import Block
from mlplab.data.datamodule import ImageDataModule
from mlplab.data.splits import SplitDataset
from mlplab.model import evaluation
from mlplab.model.predictor import Predictor
from mlplab.monitoring import pictures
from mlplab.monitoring.tensorboard_logger import WRITTEN_ONCE
from mlplab.plots import run
from mlplab.runs import atomic_write, checkpoint_file
from mlplab.runs.result import write_status
from mlplab.training import restore
from mlplab.training.build import build
from mlplab.training.run import Result, train

PICTURES = {"curves.png", "confusion.png", "mistakes.png"}
Shown = tuple[Result, EventAccumulator, Drawn]


def events(folder: Path) -> EventAccumulator:
    everything = dict.fromkeys(("scalars", "images", "tensors", "histograms"), 0)
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


@pytest.fixture(scope="module")
def shown(composed: Compose, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A run with show=all, its events, and the arguments of each figure."""
    config = composed(
        f"data.root={tiny_root}", "data=fashion", "data.val_size=50", "data.batch_size=20", "model.hidden=[16,12]",
        "model.dropout=0.1", "trainer.max_epochs=3", "show=all",
        "trainer.accelerator=cpu", "optimizer=sgd", "scheduler=onecycle", "optimizer.lr=0.05",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch:
        drawn = note(patch, run, "curves", "confusion", "mistakes", "first_layer")
        patch.setattr(pictures, "CONFUSION_SHARE", math.inf)
        result = train(config, folder)
    return result, events(folder), drawn


def loaded(result: Result, name: str = "best") -> tuple[Predictor, SplitDataset]:
    classifier, datamodule = restore.load(result.folder / "checkpoints" / f"{name}.ckpt")
    datamodule.setup()
    return classifier, datamodule


def images_of_test(datamodule: SplitDataset) -> tuple[Tensor, Tensor]:
    dataset = datasets.load(str(datamodule.name), datamodule.root)
    return dataset.test_images, dataset.test_labels


def history(result: Result) -> list[dict[str, float]]:
    return json.loads((result.folder / "result.json").read_text())["history"]


def scalars(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in found.Scalars(tag)]


def tensor(found: EventAccumulator, tag: str) -> Any:
    (event,) = found.Tensors(tag)
    return make_ndarray(event.tensor_proto)


def test_there_are_these_curves_and_no_other(shown: Shown) -> None:
    _, found, _ = shown
    figures = {f"{split}/{figure}" for split in ("train", "val") for figure in ("loss", "acc")}
    expected = {*figures, "lr", "test/loss", "test/acc", "val/acc_best", *(f"by_epoch/{name}" for name in figures)}
    expected |= {"train/loss_step", "train/acc_step", "lr_step", "images_per_s", "gap/loss", "gap/acc"}
    assert set(found.Tags()["scalars"]) == expected
    for tag in expected:
        assert all(math.isfinite(value) for _, value in scalars(found, tag)), tag


def test_curves_by_epoch_are_the_history(shown: Shown) -> None:
    result, found, _ = shown
    epochs = history(result)
    assert len(epochs) == 3
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        points = [(k, pytest.approx(epoch[name])) for k, epoch in enumerate(epochs, 1)]
        assert scalars(found, f"by_epoch/{name}") == points
        assert scalars(found, name) == [(8 * k - 1, value) for k, value in points]
    gaps = [epoch["train/acc"] - epoch["val/acc"] for epoch in epochs]
    assert [value for _, value in scalars(found, "gap/acc")] == pytest.approx(gaps, abs=1e-6)
    gaps = [epoch["val/loss"] - epoch["train/loss"] for epoch in epochs]
    assert [value for _, value in scalars(found, "gap/loss")] == pytest.approx(gaps, abs=1e-6)
    speeds = [150 / epoch["seconds"] for epoch in epochs]
    assert [value for _, value in scalars(found, "images_per_s")] == pytest.approx(speeds, rel=1e-3)


def test_the_learning_rate_within_epochs_is_that_of_the_schedule(shown: Shown) -> None:
    _, found, _ = shown
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=24)
    rates = []
    for _ in range(24):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step() if len(rates) < 24 else None
    points = scalars(found, "lr_step")
    assert [step for step, _ in points] == [*range(1, 24, 2)]  # four in an epoch of eight steps, which has no fifty
    assert [value for _, value in points] == pytest.approx([rates[step] for step, _ in points], rel=1e-5)


@pytest.mark.parametrize("flags", ["", "trainer.limit_train_batches=8"], ids=["in blocks", "batch by batch"])
def test_curves_within_epochs_add_up_to_those_by_epoch(tiny: Compose, tmp_path: Path, flags: str) -> None:
    result = train(tiny("show.scalars=true", "trainer.log_every_n_steps=1", *flags.split()), tmp_path / "run")
    found, sizes = events(result.folder), np.array([20] * 7 + [10])  # images of each of the eight steps of an epoch
    for name in ("loss", "acc"):
        points = scalars(found, f"train/{name}_step")
        assert [step for step, _ in points] == list(range(16))
        for k, epoch in enumerate(history(result)):
            of_epoch = np.array([value for _, value in points[8 * k : 8 * k + 8]])
            assert (of_epoch * sizes).sum() / 150 == pytest.approx(epoch[f"train/{name}"], abs=1e-6)
    # The first step scores the untrained network.
    torch.manual_seed(0)
    untrained = train(tiny("optimizer.lr=1e-30", "trainer.max_epochs=1"), tmp_path / "untrained")
    classifier, datamodule = loaded(untrained)
    content = checkpoint_file.read(untrained.folder / "checkpoints" / "best.ckpt")
    rows = ImageDataModule(**content["datamodule_hyper_parameters"]).epoch_rows(0)[:20]
    images, labels = (part[rows] for part in datamodule.train_data())
    first = F.cross_entropy(classifier(datamodule.normalized(images)), labels)
    assert scalars(found, "train/loss_step")[0][1] == pytest.approx(first.item(), rel=1e-5)


def charts_of(found: EventAccumulator) -> dict[tuple[str, str], list[str]]:
    """Return the curves on each chart of the layout; a tag without a curve is an error."""
    layout = Layout.FromString(tensor(found, "custom_scalars__config__").item())
    charts: dict[tuple[str, str], list[str]] = {}
    for category in layout.category:
        for chart in category.chart:
            matches = [[tag for tag in found.Tags()["scalars"] if re.search(p, tag)] for p in chart.multiline.tag]
            assert all(matches), chart
            charts[category.title, chart.title] = [*chain.from_iterable(matches)]
    return charts


def test_the_layout_puts_training_and_validation_on_one_chart(shown: Shown) -> None:
    _, found, _ = shown
    charts = charts_of(found)
    assert charts["by step", "loss"] == ["train/loss_step", "val/loss"]
    assert charts["by step", "accuracy"] == ["train/acc_step", "val/acc"]
    assert charts["by epoch", "loss"] == ["by_epoch/train/loss", "by_epoch/val/loss"]
    assert charts["by epoch", "accuracy"] == ["by_epoch/train/acc", "by_epoch/val/acc"]
    assert charts["by step", "learning rate"] == ["lr_step"]
    assert charts["by step", "images per second"] == ["images_per_s"]
    assert sorted(charts["by step", "gap of training to validation"]) == ["gap/acc", "gap/loss"]


def test_the_confusion_matrices_are_those_of_the_images(shown: Shown) -> None:
    result, found, drawn = shown
    *of_validation, of_test = drawn["confusion"]
    run_name = result.folder.name
    notes = [f"validation images, after epoch {k}, run {run_name}" for k in (1, 2, 3)]
    assert [note for *_, note in of_validation] == notes
    classifier, datamodule = loaded(result, "last")
    assert of_validation[-1][0].tolist() == evaluation.score(classifier, datamodule.batches("val")).confusion.tolist()
    assert [int(matrix.sum()) for matrix, *_ in of_validation] == [50] * 3
    accs = [epoch["val/acc"] for epoch in history(result)]
    assert [matrix.trace() / 50 for matrix, *_ in of_validation] == pytest.approx(accs)
    titles = [f"fashion, 784-16-12-10, validation {100 * acc:.2f} %" for acc in accs]
    assert [title for _, _, title, _ in of_validation] == titles
    *_, title, about = of_test
    assert title == f"fashion, 784-16-12-10, test {100 * result.metrics['test/acc']:.2f} %"
    assert about == f"test images, weights of epoch {result.best_epoch}, run {run_name}"
    classifier, datamodule = loaded(result)
    assert of_test[0].tolist() == evaluation.score(classifier, datamodule.batches("test")).confusion.tolist()
    assert tuple(of_test[1]) == datamodule.info.classes
    assert [image.step for image in found.Images("confusion/val")] == [7, 15, 23]
    assert [image.step for image in found.Images("confusion/test")] == [24]


def test_the_mistakes_are_those_that_the_network_is_surest_of(shown: Shown) -> None:
    result, _, drawn = shown
    ((images, labels, predicted, probabilities, classes, title, places, _, number),) = drawn["mistakes"]
    assert title == drawn["confusion"][-1][2]
    assert number == "number, for predict.py or explain.py --test"
    classifier, datamodule = loaded(result)
    test_images, test_labels = images_of_test(datamodule)
    with torch.no_grad():
        certain, guesses = classifier.predict_step(datamodule.normalized(test_images)).max(dim=1)
    wrong = [row for row in range(50) if guesses[row] != test_labels[row]]
    rows = sorted(wrong, key=lambda row: -float(certain[row]))[:24]
    assert len(rows) > 5
    assert places == rows
    assert [int(k) for k in labels] == test_labels[rows].tolist()
    assert [int(k) for k in predicted] == guesses[rows].tolist()
    assert [float(p) for p in probabilities] == pytest.approx(certain[rows].tolist(), rel=1e-5)
    assert np.array_equal(np.asarray(images).reshape(-1, 28, 28), test_images[rows, 0].numpy())
    assert classes == datamodule.info.classes


@pytest.mark.parametrize(("batch_size", "kind"), [(32, "none"), (32, "affine_elastic"), (8, "affine_elastic")])
def test_training_images_are_shown_as_the_network_gets_them(
    tiny: Compose, tmp_path: Path, batch_size: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = note(monkeypatch, run, "training_images")
    config = tiny(f"regularization={kind}", "seed=3", "show.images=true", f"data.batch_size={batch_size}")
    train(config, tmp_path / "run")
    ((originals, seen, labels, classes, title),) = drawn["training_images"]
    assert title == "mnist, 784-16-10"
    assert [image.step for image in events(tmp_path / "run").Images("data/training")] == [0]
    datamodule, _ = build(config)
    rows = datamodule.epoch_rows(0)[:20]
    images, expected = (part[rows] for part in datamodule.training_data(torch.device("cpu")))
    assert np.array_equal(np.asarray(originals).reshape(20, 28, 28), images[:, 0].numpy())
    assert [int(k) for k in labels] == expected.tolist()
    assert classes == datamodule.info.classes
    batches = (images for _, images, _ in datamodule.chunks(Block(0, datamodule.batches_per_epoch), epoch=0))
    given = [batch.clone() for batch in chain.from_iterable(batches)]  # what is trained on
    assert np.allclose(seen, torch.cat(given)[:20, 0].numpy(), atol=1e-5)
    assert np.allclose(seen, datamodule.normalized(images)[:, 0].numpy(), atol=1e-5) == (kind == "none")


AIDED = ("model.batch_norm=true", "model.input_noise=0.2", "model.hidden_noise=0.3", "model.dropout=0.2")


@pytest.mark.parametrize("average", ["averaging=ema", "averaging=swa averaging.start=0"])
def test_all_is_shown_of_a_network_with_aids_and_an_average(tiny: Compose, tmp_path: Path, average: str) -> None:
    aids = (*AIDED, "aids.mixup=0.4", "aids.max_norm=3", *average.split(), "show=all")
    result = train(tiny(*aids), tmp_path / "run")
    plain = train(tiny(*aids, "show=none"), tmp_path / "plain")
    assert states.differences(states.of(result.folder), states.of(plain.folder)) == []
    found = events(result.folder)
    classifier, datamodule = loaded(result, "last")
    classifier.mlp.eval()
    images, labels = (part[datamodule.train_rows[:1000]] for part in datamodule.train_data())
    F.cross_entropy(classifier.mlp(datamodule.normalized(images)), labels).backward()
    names = {name for name, _ in classifier.mlp.named_parameters()}
    assert set(found.Tags()["histograms"]) == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    gradient = classifier.mlp.affine1.weight.grad
    shown = found.Histograms("gradients/affine1.weight")[-1].histogram_value
    assert shown.sum == pytest.approx(float(gradient.double().sum()), abs=1e-5)
    graph = GraphDef.FromString(found.Graph().SerializeToString())
    assert any(node.op == "BatchNorm1d" for node in graph.node)
    assert not any("verage" in node.name or "rand" in node.op for node in graph.node)


def test_the_weights_are_those_of_the_first_layer_of_the_average(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = note(monkeypatch, run, "first_layer")
    result = train(tiny("averaging=ema", "averaging.decay=0.9", "show.weights=true"), tmp_path / "run")
    classifier, _ = loaded(result)
    ((weights, *_),) = drawn["first_layer"]
    assert np.array_equal(weights, classifier.average.module.linear1.weight.numpy())
    assert not np.array_equal(weights, classifier.mlp.linear1.weight.detach().numpy())


def test_the_pictures_in_the_folder_are_those_of_tensorboard(shown: Shown) -> None:
    result, found, drawn = shown
    for name in ("confusion", "mistakes"):
        (image,) = found.Images(f"{name}/test")
        assert image.encoded_image_string == (result.folder / f"{name}.png").read_bytes()
        with Image.open(result.folder / f"{name}.png") as picture:
            assert (image.width, image.height) == picture.size
    ((of_run, best_epoch, title, _),) = drawn["curves"]
    assert title == drawn["confusion"][-1][2]
    assert (result.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert of_run == history(result)
    assert best_epoch == json.loads((result.folder / "result.json").read_text())["best_epoch"]


def test_the_texts_are_those_of_the_run(tiny: Compose, tmp_path: Path) -> None:
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    write_status(tmp_path / "run", "running")
    overrides = ["model.hidden=[512,512]", "data=fashion", "data.root=a folder"]
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    config = tiny("show.text=true", "model.dropout=0.25")
    found = events(train(config, tmp_path / "run").folder)
    texts = {
        name: tensor(found, f"{name}/text_summary").item().decode() for name in ("configuration", "layers", "command")
    }
    plain = yaml.safe_load(texts["configuration"].replace("\n    ", "\n").removeprefix("    "))
    assert plain == config.recorded
    assert shlex.split(texts["command"]) == ["python", "train.py", *overrides]
    assert texts["command"].startswith("    python train.py 'model.hidden=[512,512]' ")
    layers = " ".join(texts["layers"].split())
    assert "| linear1 | (B, 16) | 12,560 |" in layers
    assert "| total | | 12,730 |" in layers


ONCE = ("show.scalars=true", "show.text=true", "show.graph=true", "show.images=true")


@pytest.mark.parametrize("before", [ONCE, ()], ids=["made longer", "switched on"])
def test_what_is_written_once_is_there_once_when_a_run_goes_on(
    tiny: Compose, tmp_path: Path, before: tuple[str, ...]
) -> None:
    train(tiny(*before), tmp_path / "run")
    train(tiny(*ONCE, "trainer.max_epochs=3"), tmp_path / "run", resume=True)
    found = sorted(name for name, _, _ in states.curves(tmp_path / "run") if name == "graph" or name in WRITTEN_ONCE)
    texts = ["configuration/text_summary", "custom_scalars__config__", "data/training", "graph", "layers/text_summary"]
    assert found == texts
    text = tensor(events(tmp_path / "run"), "configuration/text_summary").item().decode()
    assert "max_epochs: 3" in text


def test_the_graph_has_every_layer_with_its_shape(shown: Shown) -> None:
    _, found, _ = shown
    nodes = [*GraphDef.FromString(found.Graph().SerializeToString()).node]
    layers = ["flatten", "linear1", "relu1", "dropout1", "linear2", "relu2", "dropout2", "logits"]
    assert [node.name for node in nodes] == ["images", *(f"MLP/{name}" for name in layers), "output"]
    assert [[*node.input] for node in nodes] == [[], *([node.name] for node in nodes[:-1])]
    assert [node.op for node in nodes[1:4]] == ["Flatten", "Linear", "ReLU"]
    shapes = [[dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim] for node in nodes[:3]]
    assert shapes == [[-1, 1, 28, 28], [-1, 784], [-1, 16]]
    assert nodes[2].attr["arguments"].s == b"in_features=784, out_features=16, bias=True"


def test_precision_and_recall_are_those_of_the_probabilities(shown: Shown) -> None:
    result, found, _ = shown
    classifier, datamodule = loaded(result)
    images, labels = images_of_test(datamodule)
    with torch.no_grad():
        probabilities = classifier.predict_step(datamodule.normalized(images))
    for k, name in enumerate(datamodule.info.classes):
        rows = tensor(found, f"pr/{name.replace('/', ' ')}")
        true_positives, false_positives, _, false_negatives, precision, recall = rows
        at = 20  # of thresholds 0, 0.01, ...: 0.2
        said, is_so = probabilities[:, k] >= 0.2, labels == k
        assert true_positives[at] == int((said & is_so).sum())
        assert false_positives[at] == int((said & ~is_so).sum())
        assert false_negatives[at] == int((~said & is_so).sum())
        if is_so.any():
            assert recall[at] == pytest.approx(float((said & is_so).sum() / is_so.sum()))
        if said.any():
            assert precision[at] == pytest.approx(float((said & is_so).sum() / said.sum()))


def test_histograms_are_those_of_weights_and_gradients(shown: Shown) -> None:
    result, found, _ = shown
    classifier, datamodule = loaded(result, "last")
    images, labels = (part[datamodule.train_rows[:1000]] for part in datamodule.train_data())
    F.cross_entropy(classifier(datamodule.normalized(images)), labels).backward()
    for name, weight in classifier.mlp.named_parameters():
        for kind, values in (("weights", weight.detach()), ("gradients", weight.grad)):
            points = found.Histograms(f"{kind}/{name}")
            assert [point.step for point in points] == [7, 15, 23]
            last = points[-1].histogram_value
            assert last.num == values.numel()
            assert last.sum == pytest.approx(float(values.double().sum()), abs=1e-5)
            assert (last.min, last.max) == pytest.approx((float(values.min()), float(values.max())), abs=1e-6)


def test_the_projector_has_the_last_hidden_layer(shown: Shown) -> None:
    result, _, _ = shown
    classifier, datamodule = loaded(result)
    images, labels = images_of_test(datamodule)
    kept: list[Tensor] = []
    classifier.mlp.logits.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].detach()))
    classifier(datamodule.normalized(images))
    (features,) = kept
    (folder,) = result.folder.glob("*/last_hidden_layer")
    rows = [
        [float(number) for number in line.split("\t")] for line in (folder / "tensors.tsv").read_text().splitlines()
    ]
    assert np.allclose(rows, features.numpy(), atol=1e-5)
    names = (folder / "metadata.tsv").read_text().splitlines()
    assert names == [datamodule.info.classes[k] for k in labels]
    assert (folder / "sprite.png").is_file()


SWITCHES: dict[str, Callable[[EventAccumulator, Path], bool]] = {
    "scalars": lambda found, _: {"train/loss_step", "by_epoch/val/acc", "gap/acc"} <= set(found.Tags()["scalars"]),
    "images": lambda found, _: found.Tags()["images"] == ["data/training"],
    "confusion": lambda found, _: set(found.Tags()["images"]) == {"confusion/val", "confusion/test"},
    "mistakes": lambda found, _: found.Tags()["images"] == ["mistakes/test"],
    "weights": lambda found, _: found.Tags()["images"] == ["weights/first_layer"],
    "graph": lambda found, _: found.Tags()["graph"] is True,
    "text": lambda found, _: "layers/text_summary" in found.Tags()["tensors"],
    "pr_curves": lambda found, _: {f"pr/{k}" for k in range(10)} <= set(found.Tags()["tensors"]),
    "histograms": lambda found, _: "gradients/logits.bias" in found.Tags()["histograms"],
    "projector": lambda _, folder: (folder / "projector_config.pbtxt").is_file(),
    "files": lambda _, folder: {path.name for path in folder.glob("*.png")} == PICTURES,
}


@pytest.mark.parametrize("name", Show.model_fields)
def test_each_has_a_switch(tiny: Compose, tmp_path: Path, name: str) -> None:
    result = train(tiny(f"show.{name}=true", "trainer.log_every_n_steps=5"), tmp_path / "run")
    found = events(result.folder)
    assert [switch for switch, is_on in SWITCHES.items() if is_on(found, result.folder)] == [name]


@pytest.mark.parametrize(("flag", "expected"), [("trainer.logger=false", PICTURES), ("trainer.barebones=true", set())])
def test_without_a_logger_there_are_no_curves(tiny: Compose, tmp_path: Path, flag: str, expected: set[str]) -> None:
    train(tiny(flag, "show=all"), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == expected
    assert not list((tmp_path / "run").glob("events.*"))


def test_without_validation_or_hidden_layers_there_is_less_to_see(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = note(monkeypatch, run, "curves")
    result = train(tiny("data.val_size=0", "model.hidden=[]", "show=all"), tmp_path / "run")
    ((_, best_epoch, *_),) = drawn["curves"]
    assert best_epoch is None
    found = events(result.folder)
    assert set(found.Tags()["images"]) == {"data/training", "confusion/test", "mistakes/test", "weights/first_layer"}
    assert not any("val" in tag or "gap" in tag for tag in found.Tags()["scalars"])
    by_step = [title for category, title in charts_of(found) if category == "by step"]
    assert by_step == ["loss", "accuracy", "learning rate", "images per second"]
    assert {path.name for path in result.folder.glob("*.png")} == PICTURES


def test_a_disk_that_takes_no_pictures_and_one_that_cannot_be_drawn_are_no_reason_to_lose_the_run(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = atomic_write.write

    def broken(*_: Any) -> None:
        raise RuntimeError("no font")

    def full(path: Path, *arguments: Any, **named: Any) -> None:
        if path.name == "confusion.png":
            raise OSError(28, "No space left on device")
        write(path, *arguments, **named)

    monkeypatch.setattr(run, "mistakes", broken)
    monkeypatch.setattr(atomic_write, "write", full)
    result = train(tiny("show.files=true"), tmp_path / "run")
    assert (result.folder / "result.json").exists()
    assert {path.name for path in result.folder.glob("*.png")} == {"curves.png"}
    assert caplog.text.count("No space left on device") == caplog.text.count("RuntimeError: no font") == 1


@pytest.mark.parametrize(
    ("overrides", "share", "expected"),
    [
        (("trainer.max_epochs=11",), math.inf, [(1, 7), (2, 15), (5, 39), (10, 79), (11, 87)]),
        (("trainer.val_check_interval=3",), math.inf, [(1, 7), (2, 15)]),  # the last of an epoch
        (("trainer.max_epochs=9", "trainer.check_val_every_n_epoch=3"), math.inf, [(3, 23), (6, 47), (9, 71)]),
        (
            ("early_stopping.patience=2", "optimizer.lr=1e-30", "trainer.max_epochs=9"),
            math.inf,
            [(1, 7), (2, 15), (3, 23)],
        ),
        (("trainer.max_epochs=3",), -1, [(3, 23)]),  # drawing takes too long
    ],
)
def test_the_confusion_matrix_is_shown_at_milestones_and_at_the_end(
    tiny: Compose,
    tmp_path: Path,
    overrides: tuple[str, ...],
    share: float,
    expected: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "CONFUSION_SHARE", share)
    drawn = note(monkeypatch, run, "confusion")
    found = events(train(tiny("show.confusion=true", *overrides), tmp_path / "run").folder)
    assert [image.step for image in found.Images("confusion/val")] == [step for _, step in expected]
    notes = [note.partition(", run ")[0] for *_, note in drawn["confusion"] if note.startswith("validation")]
    assert notes == [f"validation images, after epoch {epoch}" for epoch, _ in expected]


def test_what_cannot_be_shown_is_no_reason_to_lose_the_rest(
    tiny: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    write_status(tmp_path / "run", "failed")
    (tmp_path / "run" / "00016").touch()  # where the projector needs a folder
    result = train(tiny("show.projector=true", "show.pr_curves=true"), tmp_path / "run")
    found = events(result.folder)
    assert "pr/0" in found.Tags()["tensors"]
    assert "val/acc_best" in found.Tags()["scalars"]
