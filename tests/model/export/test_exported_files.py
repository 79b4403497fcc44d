"""Exported files, compared with the network on made-up images."""

import json
import math
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlplab.config import torch_signatures
from mlplab.data.image_dataset import DatasetInfo
from mlplab.data.splits import SplitDataset
from mlplab.errors import ConfigError
from mlplab.model.export import check, numpy_file, torch_file
from mlplab.model.export.plain_network import PlainNetwork, dense_layers, plain_network
from mlplab.model.predictor import Predictor

CLASSES = ("T-shirt/top", "sandal, left", "Größe")
SUFFIXES = {"onnx": (".onnx",), "torch": (".pt2",), "numpy": (".npz", ".py")}


def made(shape: tuple[int, int, int] = (1, 6, 5), normalize: str = "standard", **arguments: Any) -> tuple[Any, Any]:
    """A network with random weights and statistics, and its data set."""
    torch.manual_seed(0)
    dataset = SplitDataset("mnist", "nowhere", 0, 0, normalize)
    dataset.load_state_dict(vars(DatasetInfo(shape, CLASSES, 0.3, 0.25, 5, False)))
    values = {"image_shape": shape, "classes": CLASSES, "averaging": None, "hidden": [7, 4], **arguments}
    predictor = Predictor().make_network(values).eval()
    for module in predictor.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data.uniform_(0.2, 1.5) if isinstance(module, nn.BatchNorm1d) else tensor.data.normal_()
    return predictor, dataset


def expected(predictor: Predictor, dataset: SplitDataset, pixels: np.ndarray) -> np.ndarray:
    """Probabilities by the network, in float64."""
    images = torch.from_numpy(pixels).view(-1, *dataset.info.image_shape)
    mean, std = {"standard": (0.3, 0.25), "unit": (0, 1), "symmetric": (0.5, 0.5)}[dataset.normalize]
    with torch.no_grad():
        logits = predictor.double().eval_network((images / 255.0 - mean).double() / std)
    return logits.softmax(dim=1).numpy()


def exported(to: str, network: PlainNetwork, folder: Path) -> tuple[Any, Path]:
    """The module that runs a file, and the file."""
    if to == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    exporter = import_module(f"mlplab.model.export.{to}_file")
    paths = [folder / f"network{suffix}" for suffix in SUFFIXES[to]]
    for path, content in zip(paths, exporter.contents(network), strict=True):
        path.write_bytes(content)
    return exporter, paths[0]


def pixels_of(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(256, size=(count, *shape), dtype=np.uint8)


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "softmax regression": {"hidden": []},
    "one layer": {"hidden": [9]},
    "batch norm and dropout": {"batch_norm": True, "dropout": [0.2, 0.5]},
    "noise": {"batch_norm": True, "hidden_noise": 0.3, "input_noise": 0.1, "input_dropout": 0.2},
    "noise without batch norm": {"hidden_noise": 0.3},
    "an average": {"averaging": {"name": "ema", "decay": 0.9}, "batch_norm": True},
    "unit": {"normalize": "unit"},
    "symmetric": {"normalize": "symmetric"},
    "three channels": {"shape": (3, 4, 5)},
}


@pytest.mark.parametrize("to", SUFFIXES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_gives_the_probabilities_of_the_network_for_any_number_of_images(
    to: str, name: str, tmp_path: Path
) -> None:
    predictor, dataset = made(**ARCHITECTURES[name])
    exporter, path = exported(to, plain_network(predictor, dataset), tmp_path)
    shape = dataset.info.image_shape if name == "three channels" else dataset.info.image_shape[1:]
    for count in (1, 2, 50):
        pixels = pixels_of(count, *shape)
        found = exporter.probabilities(path, pixels)
        assert found.shape == (count, 3)
        assert np.abs(found - expected(predictor, dataset, pixels)).max() < 1e-5


@pytest.mark.parametrize("to", ["onnx", "numpy"])
@pytest.mark.parametrize("name", sorted(torch_signatures.activations()))
def test_every_activation_is_exported(to: str, name: str, tmp_path: Path) -> None:
    predictor, dataset = made(activation=name)
    exporter, path = exported(to, plain_network(predictor, dataset), tmp_path)
    pixels = pixels_of(200, 6, 5)
    assert np.abs(exporter.probabilities(path, pixels) - expected(predictor, dataset, pixels)).max() < 1e-5


@pytest.mark.parametrize("name", sorted(numpy_file.ACTIVATIONS.keys() - {"PReLU"}))  # its slope is in the file
def test_a_line_of_numpy_is_its_activation(name: str) -> None:
    module = getattr(nn, name)()
    z = np.linspace(-120, 120, 10_001, dtype=np.float32)
    found = eval(numpy_file.ACTIVATIONS[name].format(f=module), {"np": np, "math": math, "z": z})
    np.testing.assert_allclose(found, module(torch.from_numpy(z)).numpy(), rtol=1e-5, atol=2e-6)


def test_names_of_classes_are_within_the_files(tmp_path: Path) -> None:
    network = plain_network(*made())
    _, path = exported("numpy", network, tmp_path)
    with np.load(path, allow_pickle=False) as arrays:
        assert tuple(arrays["classes"]) == CLASSES
        assert {array.dtype for name, array in arrays.items() if name[:4] in ("weig", "bias")} == {np.dtype("f4")}
    _, path = exported("torch", network, tmp_path)
    extra = {"classes.json": ""}
    torch.export.load(path, extra_files=extra)
    assert tuple(json.loads(extra["classes.json"])) == CLASSES
    _, path = exported("onnx", network, tmp_path)
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    assert tuple(json.loads(session.get_modelmeta().custom_metadata_map["classes"])) == CLASSES
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("pixels", "tensor(uint8)", ["N", 6, 5])
    ]


@pytest.mark.parametrize("activation", ["ReLU", "GELU", "PReLU"])
def test_the_program_is_short_and_needs_only_numpy(tmp_path: Path, activation: str) -> None:
    predictor, dataset = made(activation=activation)
    _, path = exported("numpy", plain_network(predictor, dataset), tmp_path)
    program = path.with_suffix(".py").read_text()
    lines = [line for line in program.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 15
    code = (
        "import sys, numpy as np; from network import classes, probabilities;"
        "print(classes[probabilities(np.zeros((1, 6, 5), np.uint8)).argmax()]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    ran = subprocess.run([sys.executable, "-X", "utf8", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stderr == ""
    answer, modules = ran.stdout.splitlines()
    assert answer == CLASSES[expected(predictor, dataset, np.zeros((1, 6, 5), np.uint8)).argmax()]
    assert not {"torch", "mlplab", "onnx"} & set(modules.split())
    assert "numpy" in modules.split()


@pytest.mark.parametrize("to", ["onnx", "numpy"])
def test_an_activation_without_an_equivalent_is_refused(to: str, tmp_path: Path) -> None:
    network = plain_network(*made(activation="Softmin"))
    with pytest.raises(ConfigError, match=f"--to {to}: Softmin .* Use --to torch."):
        exported(to, network, tmp_path)


def test_a_layer_that_is_unknown_is_refused() -> None:
    predictor, dataset = made()
    predictor.mlp.add_module("fold", nn.Fold(2, 2))
    with pytest.raises(ConfigError, match="Fold: a layer that cannot be exported"):
        plain_network(predictor, dataset)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.LayerNorm(4)),
        nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.ReLU(), nn.Linear(4, 4)),
    ],
)
def test_an_activation_belongs_to_a_linear_layer(network: nn.Sequential) -> None:
    with pytest.raises(ConfigError, match="cannot be exported"):
        dense_layers(network)


def test_the_difference_is_the_largest_of_any_probability() -> None:
    predictor, dataset = made()
    contents = dict(zip(SUFFIXES["numpy"], numpy_file.contents(plain_network(predictor, dataset)), strict=True))
    images = check.random_images(dataset)
    assert len(images) == 1000
    assert check.difference(numpy_file, contents, predictor, dataset, images) < 1e-5
    before = predictor.predict_step(dataset.normalized(images))
    predictor.mlp.logits.bias.data[1] += 0.5
    moved = (predictor.predict_step(dataset.normalized(images)) - before).abs().max().item()
    assert check.difference(numpy_file, contents, predictor, dataset, images) == pytest.approx(moved, abs=1e-5)
    predictor.mlp.logits.bias.data[1] = math.nan
    assert math.isnan(check.difference(numpy_file, contents, predictor, dataset, images))


def test_a_torch_file_is_written_with_the_name_of_the_project() -> None:
    (content,) = torch_file.contents(plain_network(*made(hidden=[])))
    assert content[30:36] == b"mlplab"
