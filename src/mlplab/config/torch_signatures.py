"""The names and arguments that torch and lightning accept, read from their source files.

So a mistyped optimizer is reported in milliseconds; importing torch takes seconds.
"""

import ast
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Not usable with plain values: they need callables, other schedulers, sparse or two-dimensional parameters.
_NOT_OPTIMIZERS = {"Optimizer", "SparseAdam", "Muon"}
_NOT_SCHEDULERS = {"LRScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"}
# Not elementwise, or with required arguments.
_NOT_ACTIVATIONS = {"GLU", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax", "Threshold"}
# Flags that take objects, or that the run sets itself, which writes only into its own folder.
_NOT_TRAINER_FLAGS = {"self", "callbacks", "plugins", "default_root_dir"}


@dataclass(frozen=True)
class Argument:
    required: bool
    kinds: frozenset[str] | None  # of plain values: bool, int, float, str, list, None; None: any
    default: Any = None

    def takes(self, value: object) -> bool:
        kind = "None" if value is None else "list" if isinstance(value, list | tuple) else type(value).__name__
        return self.kinds is None or kind in self.kinds or (kind == "int" and "float" in self.kinds)


Arguments = dict[str, Argument]

# Type names in annotations, and their kinds of plain values; any other name is a class and could be anything.
_KINDS = {
    **{word: {word} for word in ("bool", "int", "float", "str", "None")},
    **{word: {"list"} for word in ("list", "tuple", "List", "Tuple", "Iterable", "Sequence")},
    **{word: set() for word in ("Union", "Tensor")},
    "Optional": {"None"},
    "Literal": {"str"},
}


@cache
def optimizers() -> dict[str, Arguments]:
    """Arguments of each class of torch.optim, by its name."""
    found = {}
    for statement in _parse("torch", "optim/__init__.py").body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("torch.optim."):
            module = _parse("torch", f"{str(statement.module).removeprefix('torch.').replace('.', '/')}.py")
            classes = {definition.name for definition in module.body if isinstance(definition, ast.ClassDef)}
            for name in {alias.name for alias in statement.names} & classes - _NOT_OPTIMIZERS:
                found[name] = _arguments(module, name, without=("self", "params"))
    return found


@cache
def schedulers() -> dict[str, Arguments]:
    """Arguments of each class of torch.optim.lr_scheduler, by its name."""
    module = _parse("torch", "optim/lr_scheduler.py")
    names = _exported(module) - _NOT_SCHEDULERS
    return {name: _arguments(module, name, without=("self", "optimizer", "last_epoch")) for name in names}


BY_SECTION = {"optimizer": optimizers, "scheduler": schedulers}  # of the configuration


@cache
def activations() -> frozenset[str]:
    """Names of the elementwise activations of torch.nn."""
    return frozenset(_exported(_parse("torch", "nn/modules/activation.py")) - _NOT_ACTIVATIONS)


@cache
def trainer_flags() -> Arguments:
    """Arguments of lightning.Trainer that a plain value can give."""
    module = _parse("lightning", "pytorch/trainer/trainer.py")
    return _arguments(module, "Trainer", without=_NOT_TRAINER_FLAGS)


@cache
def mirrors(dataset: str) -> tuple[str, ...]:
    """Folders from which torchvision downloads the archives of MNIST, FashionMNIST or KMNIST."""
    return tuple(_values(dataset)["mirrors"])


def addresses(dataset: str, file: str) -> tuple[str, ...]:
    """URLs of the archive of a file, for each class of torchvision's mnist.py."""
    known = _values(dataset)
    if "url" in known:  # of one archive for all files
        return (known["url"],)
    if "mirrors" in known:
        return tuple(f"{mirror}{file}.gz" for mirror in mirrors(dataset))
    found = (address for archives in known["resources"].values() for address, _ in archives)
    return tuple(address for address in found if address.endswith(f"/{file}.gz"))


@cache
def _values(dataset: str) -> dict[str, Any]:
    """Return the literal values that a class of torchvision's mnist.py assigns to its attributes."""
    (found,) = [d for d in _parse("torchvision", "datasets/mnist.py").body if getattr(d, "name", "") == dataset]
    assert isinstance(found, ast.ClassDef)
    values = {}
    for statement in found.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            with suppress(ValueError):  # not a literal
                values[ast.unparse(target)] = ast.literal_eval(statement.value)
    return values


def _parse(package: str, path: str) -> ast.Module:
    spec = find_spec(package)  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    return ast.parse((Path(spec.origin).parent / path).read_text(encoding="utf-8"))


def _exported(module: ast.Module) -> set[str]:
    """The literal `__all__` of a module."""
    (names,) = [s.value for s in module.body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "__all__"]
    return set(ast.literal_eval(names))


def _arguments(module: ast.Module, name: str, without: Iterable[str]) -> Arguments:
    (definition,) = [d for d in module.body if isinstance(d, ast.ClassDef) and d.name == name]
    (constructor,) = [m for m in definition.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"]
    given = constructor.args
    required = [None] * (len(given.args) - len(given.defaults))
    pairs = zip([*given.args, *given.kwonlyargs], [*required, *given.defaults, *given.kw_defaults], strict=True)
    return {
        argument.arg: Argument(default is None, _kinds(argument.annotation), default and _value(default))
        for argument, default in pairs
        if argument.arg not in set(without)
    }


def _value(default: ast.expr) -> Any:
    return eval(ast.unparse(default), {"__builtins__": {}})  # a line of torch's own source, such as 1.0 / 3


def _kinds(annotation: ast.expr | None) -> frozenset[str] | None:
    if annotation is None:
        return None
    words = re.findall(r"\b[A-Za-z_]\w*", re.sub(r"(['\"]).*?\1", "", ast.unparse(annotation)))
    if not set(words) <= set(_KINDS):
        return None
    return frozenset().union(*(_KINDS[word] for word in words))
