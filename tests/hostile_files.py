"""Hostile or broken checkpoint files, each with expected words of the error."""

import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Content = dict[str, Any]
Make = Callable[[Path, Path, Path], object]


@dataclass(frozen=True)
class Hostile:
    """A hostile file; `make` is given its path, a good checkpoint, and a path that hostile code would create."""

    says: str
    make: Make

    def __call__(self, path: Path, good: Path, trace: Path) -> None:
        self.make(path, good, trace)


class MakesFolder:
    """Makes a folder as soon as it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def save(content: object, path: Path) -> None:
    torch.save(content, path)


def _content(change: Callable[[Content, Path], object]) -> Make:
    """Return a function that writes a checkpoint with changed content."""

    def make(path: Path, good: Path, trace: Path) -> None:
        content = torch.load(good, weights_only=True)
        change(content, trace)
        save(content, path)

    return make


def _hyper(part: str = "hyper_parameters", **values: object) -> Make:
    return _content(lambda content, _: content[part].update(values))


def _bytes(change: Callable[[bytes], bytes]) -> Make:
    return lambda path, good, _: path.write_bytes(change(good.read_bytes()))


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _with(*names: str) -> Make:
    """Return a function that writes a checkpoint with more members."""
    return lambda path, good, _: _zip(path, _members(good) | dict.fromkeys(names, b"x"))


def _flipped(path: Path, good: Path, trace: Path) -> None:
    """Flip one bit of the weights."""
    with zipfile.ZipFile(good) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(good.read_bytes())
    content[largest.header_offset + 500] ^= 1
    path.write_bytes(content)


def _target(content: Content, trace: Path) -> None:
    """Return a target that hydra.utils.instantiate would call."""
    content["hyper_parameters"].update({"_target_": "os.mkdir", "_args_": [str(trace)]})


def _without(*keys: str) -> Make:
    return _content(lambda content, _: [content.pop(key) for key in keys])


OBJECTS = "holds Python objects"
DAMAGED = "truncated, damaged or not a checkpoint"
FOREIGN = "not a checkpoint of this project"
DATA = "datamodule_hyper_parameters"

FILES = {
    # Code
    "a pickle that runs code": Hostile(
        DAMAGED, lambda path, _, trace: path.write_bytes(pickle.dumps({"state_dict": MakesFolder(trace)}))
    ),
    "code among the weights": Hostile(
        OBJECTS, _content(lambda content, trace: content["state_dict"].update(x=MakesFolder(trace)))
    ),
    "a TorchScript archive": Hostile("TorchScript", _with("archive/constants.pkl", "archive/code/__torch__.py")),
    # Names of callables
    "a target for Hydra": Hostile("_target_", _content(_target)),
    "an optimizer that is a function": Hostile(
        "`optimizer` must name a class of torch.optim", _hyper(optimizer={"name": "eval", "lr": "0"})
    ),
    "a schedule that is a function": Hostile("`scheduler` must name a class", _hyper(scheduler={"name": "exec"})),
    "an activation that is a function": Hostile("got 'os.system'", _hyper(activation="os.system")),
    "a data set that is a function": Hostile("got 'os.system'", _hyper(DATA, name="os.system")),
    "data at an address": Hostile("`root` must be a folder", _hyper(DATA, root="https://127.0.0.1/mnist")),
    # Torn and damaged
    "zeros without end": Hostile(DAMAGED, lambda path, *_: (path.touch(), os.truncate(path, 2**42))),
    "without its last byte": Hostile(DAMAGED, _bytes(lambda content: content[:-1])),
    "a flipped bit": Hostile("checksum", _flipped),
    # Of another kind
    "a link to itself": Hostile("does not exist", lambda path, *_: path.symlink_to(path)),
    "a pipe": Hostile("not a file", lambda path, *_: os.mkfifo(path)),
    "HDF5": Hostile("this is a model of Keras", lambda path, *_: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))),
    "a file of Keras": Hostile("this is a model of Keras", lambda path, *_: _zip(path, {"model.weights.h5": b"x"})),
    "a picture": Hostile("this is a picture", lambda path, *_: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))),
    "a result": Hostile("this is a JSON file", lambda path, *_: path.write_text('{"status": "completed"}')),
    # Of another program, or of another network
    "a tensor": Hostile("holds a Tensor", lambda path, *_: save(torch.zeros(3), path)),
    "weights alone": Hostile(FOREIGN, lambda path, *_: save(torch.nn.Linear(2, 2).state_dict(), path)),
    "no weights": Hostile("lacks 'state_dict'", _without("state_dict")),
    "no description of the data": Hostile("lacks 'ImageDataModule'", _without("ImageDataModule")),
    "absurdly wide hyper-parameters": Hostile("size mismatch", _hyper(hidden=[2**30])),
    "words in place of a weight": Hostile(
        FOREIGN, _content(lambda content, _: content["state_dict"].update({"mlp.logits.bias": "x"}))
    ),
    "images of another size": Hostile("`image_shape` must be", _hyper("ImageDataModule", image_shape=[1, 5, 5])),
}
