"""Each recipe as a sweep over seeds, which goes on by itself under the same name."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SWEEPS = Path("outputs/sweeps")  # where train.py puts them
STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP}


def experiment(name: str) -> Path:
    return PROJECT / "conf" / "experiment" / f"{name}.yaml"


def folder(name: str) -> Path:
    return SWEEPS / f"results_{name}"


def command(name: str, seeds: int) -> str:
    """As a person would type it."""
    return f"python train.py -m experiment={name} {shlex.quote(f'seed=range(0,{seeds})')}"


def train(name: str, seeds: int) -> int:
    """Train what is not complete, and return the exit code of the sweep.

    Ctrl-C reaches the sweep by itself; SIGTERM is handed on.
    """
    overrides = [f"experiment={name}", f"seed=range(0,{seeds})", f"sweep_name=results_{name}", "show=none"]
    with subprocess.Popen([sys.executable, str(PROJECT / "train.py"), "-m", *overrides]) as process:
        handlers = {
            signal.SIGINT: lambda number, frame: None,
            signal.SIGTERM: lambda number, frame: process.terminate(),
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return 128 - code if code < 0 else code


def hashes(name: str) -> Callable[[int], str]:
    """The hash of a recipe's configuration by seed, as it stands in the result of a run.

    Raises:
        MlplabError, HydraException: if it cannot be composed.
    """
    from hydra import compose, initialize_config_dir

    from mlplab.cli.compose import config_of

    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = config_of(compose("config", [f"experiment={name}", "seed=0"]))
    return lambda seed: config.model_copy(update={"seed": seed}).hash
