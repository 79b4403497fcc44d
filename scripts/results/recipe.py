"""The recipes of conf/experiment, with published results, and each as a sweep over seeds."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from mlplab.config.schema import Published

PROJECT = Path(__file__).resolve().parents[2]
SWEEPS = Path("outputs/sweeps")  # where train.py writes sweeps
STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP}
TOLERANCE = {"mnist": 0.10, "fashion": 0.25}  # points of test accuracy within which a figure counts as reproduced
SLOW_S = 600  # seconds per seed above which three seeds are enough


@dataclass(frozen=True)
class Recipe:
    name: str

    @property
    def data(self) -> str:
        """Name of the data set, "mnist" or "fashion"."""
        return self.name.partition("_")[0]

    @property
    def file(self) -> Path:
        return PROJECT / "conf" / "experiment" / f"{self.name}.yaml"

    @property
    def folder(self) -> Path:
        """Folder of the recipe's sweep."""
        return SWEEPS / f"results_{self.name}"

    @cached_property
    def published(self) -> Published:
        return Published(**yaml.safe_load(self.file.read_text(encoding="utf-8"))["published"])

    @property
    def figure(self) -> str:
        """The published figure, such as `98.05 ± 0.12, n = 3`, with the digits of the source."""
        found = self.published
        if found.accuracy is None:
            return "none"
        sd = "" if found.sd is None else f" ± {found.sd}"
        runs = "" if found.n is None else ", one run" if found.n == 1 else f", n = {found.n}"
        return f"{found.accuracy}{sd}{runs}"

    def command(self, seeds: int) -> str:
        return f"python train.py -m experiment={self.name} {shlex.quote(f'seed=range(0,{seeds})')}"

    def train(self, seeds: int) -> int:
        """Train the seeds that are not complete, and return the exit code of the sweep.

        Ctrl-C reaches the sweep directly; SIGTERM is passed on.
        """
        words = [f"experiment={self.name}", f"seed=range(0,{seeds})", f"sweep_name={self.folder.name}", "show=none"]
        with subprocess.Popen([sys.executable, str(PROJECT / "train.py"), "-m", *words]) as process:
            handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda *_: process.terminate()}
            before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
            try:
                code = process.wait()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        return 128 - code if code < 0 else code

    @cached_property
    def hash_of(self) -> Callable[[int], str]:
        """Return a function that returns the hash of the recipe's configuration with a seed.

        Raises:
            ConfigError: if it cannot be composed.
        """
        from mlplab.cli.compose import compose

        config = compose([f"experiment={self.name}", "seed=0"], PROJECT / "conf")
        return lambda seed: config.model_copy(update={"seed": seed}).hash


RECIPES = {path.stem: Recipe(path.stem) for path in sorted((PROJECT / "conf" / "experiment").glob("*.yaml"))}


def seeds_wanted(seconds: float) -> int:
    """Return the number of seeds of a mean, by the training time of one."""
    return 3 if seconds > SLOW_S else 5
