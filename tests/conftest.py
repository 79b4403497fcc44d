"""Fixtures: tiny data sets, configurations, and programs started as by a user."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import pytest
from filelock import FileLock
from fork_server import Forked, Server
from waiting import Process

from mlplab import startup

startup.import_lightning()  # as train.py does, in half the time

import idx
import torch
from lightning.pytorch import Trainer

from mlplab.cli.compose import compose
from mlplab.config.schema import Config
from mlplab.data.datamodule import ImageDataModule
from mlplab.training.run import Result, train

PROJECT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)

Compose = Callable[..., Config]
MakeTrainer = Callable[..., Trainer]


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Run:
    folder: Path
    printed: str

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return result


class Program:
    """Starts train.py or a script in a folder, without the caller's settings."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.environment = {
            key: value for key, value in os.environ.items() if key not in ("MLPLAB_DATA", "HYDRA_FULL_ERROR")
        } | {"OMP_NUM_THREADS": "1", "HOME": str(folder / "home"), "COLUMNS": "120"}
        self.environment |= {"MPLCONFIGDIR": matplotlib.get_configdir()}  # which fonts there are takes seconds to find
        nowhere = "http://127.0.0.1:9"  # no network, whatever the machine has
        self.environment |= {"http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": ""}

    def start(
        self, *arguments: str | Path, script: str = "train.py", before: Callable[[], None] | None = None
    ) -> Process | Forked:
        """Start a program; `before` is called in the new process, which is then not forked from one with imports."""
        if before is None and self.server.serves(self.environment):
            return Forked(self.server, PROJECT / script, [str(a) for a in arguments], self.folder, self.environment)
        return Process(
            [sys.executable, PROJECT / script, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )

    def run(self, *arguments: str | Path, **how: Any) -> Finished:
        with self.start(*arguments, **how) as process:
            out, err = process.communicate()
        return Finished(process.returncode, out, err)


@pytest.fixture(autouse=True)
def _no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("MLPLAB_DATA", str(tmp_path_factory.getbasetemp() / "no data here"))


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture
def program(tmp_path: Path, fork_server: Server) -> Program:
    return Program(tmp_path, fork_server)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with MNIST and FashionMNIST of 200 training and 50 test images each."""
    root = tmp_path_factory.mktemp("data")
    idx.write(root)
    idx.write(root, "FashionMNIST")
    return root


@pytest.fixture(scope="session")
def composed() -> Compose:
    """Compose configurations as train.py does, from conf/ and overrides."""

    @cache
    def compose_once(data: str | None, *overrides: str) -> Config:
        return compose(list(overrides), PROJECT / "conf")

    return lambda *overrides: compose_once(os.environ.get("MLPLAB_DATA"), *overrides)


@pytest.fixture(scope="session")
def tiny(composed: Compose, tiny_root: Path) -> Compose:
    """Compose configurations of two epochs on the tiny MNIST, with 150 training and 50 validation images."""
    short = ("data.val_size=50", "data.batch_size=20", "model.hidden=16", "trainer.max_epochs=2", "show=none")
    return lambda *overrides: composed(f"data.root={tiny_root}", *short, "trainer.accelerator=cpu", *overrides)


@pytest.fixture(scope="session")
def tiny_run(tiny: Compose, tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("run")
    return train(tiny(), folder)


def mnist(root: Path, **arguments: Any) -> ImageDataModule:
    datamodule = ImageDataModule("mnist", root, **{"val_size": 50, "batch_size": 32, **arguments})
    datamodule.setup()
    return datamodule


@pytest.fixture
def datamodule(tiny_root: Path) -> ImageDataModule:
    return mnist(tiny_root)


@pytest.fixture
def trainer() -> MakeTrainer:
    """A Trainer on the CPU that writes and prints nothing, as in a notebook."""

    def make(**flags: Any) -> Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        return Trainer(**{"accelerator": "cpu", "logger": False, "num_sanity_val_steps": 0, **quiet, **flags})

    return make


Once = Callable[[str, Callable[[Path], Finished]], tuple[Path, Finished]]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """Run a command in a folder once for all processes of pytest-xdist; return the folder and the output."""
    base = tmp_path_factory.getbasetemp()

    def run_once(name: str, run: Callable[[Path], Finished]) -> tuple[Path, Finished]:
        folder = (base if worker_id == "master" else base.parent) / name
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                folder.mkdir()
                (folder / "printed.json").write_text(json.dumps(astuple(run(folder))))
        finished = Finished(*json.loads((folder / "printed.json").read_text()))
        assert finished.code == 0, finished.err
        return folder, finished

    return run_once


@pytest.fixture(scope="session")
def digits_run(once: Once, fork_server: Server) -> Run:
    """`python train.py data=digits trainer.max_epochs=20`."""
    words = ("data=digits", "trainer.max_epochs=20")
    folder, finished = once("digits", lambda folder: Program(folder, fork_server).run(*words))
    (result,) = (folder / "outputs" / "digits").glob("*/result.json")
    return Run(result.parent, finished.out + finished.err)


Command = Callable[..., Finished]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `python train.py` in this process, for commands that are refused before training."""
    import in_process  # which imports this file

    monkeypatch.chdir(tmp_path)
    return in_process.train


Script = Callable[..., Finished]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Run `python scripts/NAME ...` in an empty folder, in this process, which has imported torch."""

    def call(name: str, *arguments: object) -> Finished:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(PROJECT / "scripts" / name), run_name="__main__")
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Finished(code, *capsys.readouterr())

    return call


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def imported(err: str) -> set[str]:
    """Return the packages that a program imported, from the output of PYTHONPROFILEIMPORTTIME."""
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in err.splitlines() if "|" in line}


Drawn = dict[str, list[tuple[Any, ...]]]


def note(patch: pytest.MonkeyPatch, module: ModuleType, *names: str) -> Drawn:
    """Record the arguments of each call of these functions of a module, which still draw."""
    drawn: Drawn = {name: [] for name in names}

    def noted(name: str, draw: Callable[..., Any], *given: Any) -> Any:
        drawn[name].append(given)
        return draw(*given)

    for name in names:
        patch.setattr(module, name, partial(noted, name, getattr(module, name)))
    return drawn
