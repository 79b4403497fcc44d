"""Checkpoint files that are hostile or broken, each with the words that its refusal must have."""

import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

Content = dict[str, Any]
Make = Callable[[Path, Path, Path], object]


@dataclass(frozen=True)
class Hostile:
    """`make` is given the path to write, a good checkpoint, and a path that its code would make if it ran."""

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
    """A good checkpoint of other content."""

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
    """A good checkpoint with more members."""
    return lambda path, good, _: _zip(path, _members(good) | dict.fromkeys(names, b"x"))


def _pickle(content: bytes) -> Make:
    """Another pickle where the tensors' descriptions are."""
    return lambda path, good, _: _zip(
        path, {name: content if name.endswith("/data.pkl") else old for name, old in _members(good).items()}
    )


def _flipped(path: Path, good: Path, trace: Path) -> None:
    """One bit of the weights."""
    with zipfile.ZipFile(good) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(good.read_bytes())
    content[largest.header_offset + 500] ^= 1
    path.write_bytes(content)


def _directory(offset: int, value: int) -> Make:
    """Another byte in the first entry of the zip file's directory."""

    def change(content: bytes) -> bytes:
        place = content.index(b"PK\x01\x02") + offset
        return content[:place] + bytes([value]) + content[place + 1 :]

    return _bytes(change)


def _many_times(path: Path, good: Path, trace: Path) -> None:
    """One large member, listed a hundred times."""
    _zip(path, _members(good))
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        archive.filelist += [copy(largest)] * 100
        archive._didModify = True  # type: ignore[attr-defined]


def _bomb(path: Path, good: Path, trace: Path) -> None:
    """200 KB that unpack to 200 MB."""
    members = _members(good)
    largest = max(members, key=lambda name: len(members[name]))
    _zip(path, members | {largest: bytes(2 * 10**8)}, zipfile.ZIP_DEFLATED)


def _oversized_storage(path: Path, good: Path, trace: Path) -> None:
    """A tensor of 8 GB, whose bytes are not there."""
    odd = 4321  # a number that the file has nowhere else
    content = torch.load(good, weights_only=True)
    content["state_dict"]["mlp.linear1.bias"] = torch.zeros(odd)
    save(content, path)
    written, wanted = b"M" + odd.to_bytes(2, "little"), b"J" + (2**31 - 1).to_bytes(4, "little")
    members = {
        name: old.replace(written, wanted) if name.endswith("/data.pkl") else old
        for name, old in _members(path).items()
    }
    _zip(path, members)


def _wide(make: Callable[..., torch.Tensor]) -> Make:
    """Weights of a network of 2**30 units, of tensors that take no place."""

    def change(content: Content, trace: Path) -> None:
        content["hyper_parameters"]["hidden"] = [2**30]
        shapes = {"linear1.weight": (2**30, 784), "linear1.bias": (2**30,), "logits.weight": (10, 2**30)}
        content["state_dict"].update({f"mlp.{name}": make(shape) for name, shape in shapes.items()})

    return _content(change)


def _nested(depth: int) -> list[Any]:
    """10 ** depth words, in `depth` lists."""
    values: list[Any] = ["word"] * 10
    for _ in range(depth):
        values = [values] * 10
    return values


def _target(content: Content, trace: Path) -> None:
    """What hydra.utils.instantiate would call."""
    content["hyper_parameters"].update({"_target_": "os.mkdir", "_args_": [str(trace)]})


def _nested_target(content: Content, trace: Path) -> None:
    content["hyper_parameters"]["optimizer"] = {"_target_": "os.mkdir", "_args_": [str(trace)]}


def _instantiator(content: Content, trace: Path) -> None:
    """What Lightning's load_from_checkpoint would import and call."""
    content["hyper_parameters"].update({"_instantiator": "os.mkdir", "_class_path": str(trace)})


def _evaluated(content: Content, trace: Path) -> None:
    content["hyper_parameters"]["optimizer"] = {"name": "eval", "lr": f"__import__('os').mkdir({str(trace)!r})"}


def _pickle_in_a_pickle(content: Content, trace: Path) -> None:
    content["hyper_parameters"]["monitor"] = pickle.dumps(MakesFolder(trace))


def _npz(path: Path, good: Path, trace: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, data=np.zeros(3))


def _safetensors(path: Path, good: Path, trace: Path) -> None:
    header = b'{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def _without(*keys: str) -> Make:
    return _content(lambda content, _: [content.pop(key) for key in keys])


OBJECTS = "holds Python objects"
DAMAGED = "truncated, damaged or not a checkpoint"
FOREIGN = "not a checkpoint of this project"
DATA = "datamodule_hyper_parameters"

FILES = {
    "zeros without end": Hostile(DAMAGED, lambda path, *_: (path.touch(), os.truncate(path, 2**42))),
    # Code
    "a pickle that runs code": Hostile(
        DAMAGED, lambda path, _, trace: path.write_bytes(pickle.dumps({"state_dict": MakesFolder(trace)}))
    ),
    "code in place of the weights": Hostile(
        OBJECTS, lambda path, _, trace: save({"state_dict": MakesFolder(trace)}, path)
    ),
    "code among the weights": Hostile(
        OBJECTS, _content(lambda content, trace: content["state_dict"].update(x=MakesFolder(trace)))
    ),
    "code among the hyper-parameters": Hostile(
        OBJECTS,
        _content(lambda content, trace: content["hyper_parameters"]["optimizer"].update(lr=[MakesFolder(trace)])),
    ),
    "code beside the weights": Hostile(
        OBJECTS, _content(lambda content, trace: content.update(more=MakesFolder(trace)))
    ),
    "a pickle within a pickle": Hostile("a bytes among its hyper-parameters", _content(_pickle_in_a_pickle)),
    "a whole module": Hostile(OBJECTS, lambda path, *_: save(torch.nn.Linear(2, 2), path)),
    "a TorchScript archive": Hostile("TorchScript", _with("archive/constants.pkl", "archive/code/__torch__.py")),
    # Names of what could be called
    "a target for Hydra": Hostile("_target_", _content(_target)),
    "a target for Hydra as the optimizer": Hostile("`optimizer` must name a class", _content(_nested_target)),
    "an instantiator for Lightning": Hostile("_instantiator", _content(_instantiator)),
    "an optimizer that is a function": Hostile("`optimizer` must name a class of torch.optim", _content(_evaluated)),
    "an optimizer that is a module": Hostile("got 'sgd'", _hyper(optimizer={"name": "sgd"})),
    "a schedule that is a function": Hostile("`scheduler` must name a class", _hyper(scheduler={"name": "exec"})),
    "an activation that is a function": Hostile("got 'os.system'", _hyper(activation="os.system")),
    "an activation that is a module": Hostile("'module' object is not callable", _hyper(activation="init")),
    "an activation that does nothing": Hostile(FOREIGN, _hyper(activation="Module")),
    "an activation that torch has not": Hostile("got 'Rectifier'", _hyper(activation="Rectifier")),
    "a data set that is a function": Hostile("got 'os.system'", _hyper(DATA, name="os.system")),
    "data at an address": Hostile("`root` must be a folder", _hyper(DATA, root="https://127.0.0.1/mnist")),
    "data at a number": Hostile(FOREIGN, _hyper(DATA, root=3)),
    # Sizes
    "a tensor without its bytes": Hostile(DAMAGED, _oversized_storage),
    "absurdly wide hyper-parameters": Hostile("mlp.linear1.bias is (16,)", _hyper(hidden=[2**30, 2**30])),
    "wider than can be counted": Hostile(FOREIGN, _hyper(hidden=[2**62, 2**62])),
    "wider than 64 bits": Hostile(FOREIGN, _hyper(hidden=[10**30])),
    "deeper than can be built": Hostile("more than 10,000 hyper-parameters", _hyper(hidden=[1] * 10**5)),
    "weights that repeat one number": Hostile(
        "its weights would take 3,4", _wide(lambda shape: torch.zeros(1).expand(shape))
    ),
    "weights without a place": Hostile(
        "its weights would take 3,4", _wide(lambda shape: torch.empty(shape, device="meta"))
    ),
    "images of absurd size": Hostile(FOREIGN, _hyper("ImageDataModule", image_shape=[1, 2**20, 2**20])),
    "lists in lists without end": Hostile("more than 10,000 hyper-parameters", _hyper(DATA, normalize=_nested(20))),
    "a small file that unpacks to a large one": Hostile("is compressed, as torch never does", _bomb),
    "one member many times": Hostile("declares more bytes than it has", _many_times),
    # Zip files
    "a name that escapes": Hostile("names outside of its folder", _with("archive/../../../escaped")),
    "a name from the root": Hostile("names outside of its folder", _with("/tmp/escaped")),
    "a second folder": Hostile("names outside of its folder", _with("other/data.pkl")),
    "a password": Hostile("checksum", _directory(8, 1)),
    "a zip file of the future": Hostile("zip file version", _directory(6, 99)),
    "an empty zip file": Hostile("a zip file of something else", lambda path, *_: _zip(path, {})),
    "a zip file without names": Hostile("a zip file of something else", lambda path, *_: _zip(path, {".": b"x"})),
    "a document": Hostile(
        "a zip file of something else",
        lambda path, *_: _zip(path, {"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w:document/>"}),
    ),
    "arrays of numpy": Hostile("a zip file of something else", _npz),
    "a pickle that ends at once": Hostile(DAMAGED, _pickle(b"\x80\x02.")),
    "a pickle without an end": Hostile(DAMAGED, _pickle(b"\x80\x02}")),
    "a pickle that recalls what was not": Hostile(DAMAGED, _pickle(b"\x80\x02h\x05.")),
    # Not zip files
    "safetensors": Hostile(DAMAGED, _safetensors),
    "empty": Hostile(DAMAGED, lambda path, *_: path.write_bytes(b"")),
    "noise": Hostile(DAMAGED, lambda path, *_: path.write_bytes(np.random.default_rng(0).bytes(5000))),
    "text": Hostile(DAMAGED, lambda path, *_: path.write_text("hello\n" * 100)),
    "half of it": Hostile(DAMAGED, _bytes(lambda content: content[: len(content) // 2])),
    "without its last byte": Hostile(DAMAGED, _bytes(lambda content: content[:-1])),
    "a flipped bit": Hostile("checksum", _flipped),
    "a link to itself": Hostile("does not exist", lambda path, *_: path.symlink_to(path)),
    "a link to nowhere": Hostile("does not exist", lambda path, *_: path.symlink_to("nowhere")),
    "a pipe": Hostile("not a file", lambda path, *_: os.mkfifo(path)),
    # Of another program, or of another version
    "a tensor": Hostile("holds a Tensor", lambda path, *_: save(torch.zeros(3), path)),
    "a list": Hostile("holds a list", lambda path, *_: save([1, 2], path)),
    "weights alone": Hostile(FOREIGN, lambda path, *_: save(torch.nn.Linear(2, 2).state_dict(), path)),
    "numbers in place of its parts": Hostile(
        FOREIGN, lambda path, *_: save({"state_dict": 3, "hyper_parameters": 4}, path)
    ),
    "no weights": Hostile("lacks 'state_dict'", _without("state_dict")),
    "no hyper-parameters": Hostile("lacks 'hyper_parameters'", _without("hyper_parameters")),
    "no description of the data": Hostile("lacks 'ImageDataModule'", _without("ImageDataModule")),
    "weights of another width": Hostile(
        "mlp.linear1.bias is (16,), by its hyper-parameters (17,)", _hyper(hidden=[17])
    ),
    "weights of more layers": Hostile("mlp.linear2.bias is not there", _hyper(hidden=[16, 16])),
    "words in place of a weight": Hostile(
        FOREIGN, _content(lambda content, _: content["state_dict"].update({"mlp.logits.bias": "x"}))
    ),
    "a tensor among the hyper-parameters": Hostile("a Tensor among its hyper-parameters", _hyper(seed=torch.zeros(3))),
    "images of another size": Hostile(FOREIGN, _hyper("ImageDataModule", image_shape=[1, 5, 5])),
    "another number of classes": Hostile("is not for the images and classes", _hyper("ImageDataModule", classes=["a"])),
    "objects larger than the image": Hostile("is not for the images", _hyper("ImageDataModule", object_size=2**30)),
    "pixels without a spread": Hostile("standard deviation of 0", _hyper("ImageDataModule", std=0.0)),
}
