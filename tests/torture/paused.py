"""Train a piece of a run: `paused.py RUNG FOLDER OVERRIDES`, to the end with rung 0."""

import sys
from contextlib import suppress
from pathlib import Path

from mlplab import startup
from mlplab.cli.compose import compose
from mlplab.errors import Paused

rung, folder, *overrides = sys.argv[1:]
startup.import_lightning()
from mlplab.training.run import train  # noqa: E402

run = Path(folder)
config = compose(overrides, Path(__file__).resolve().parents[2] / "conf")
with suppress(Paused):
    train(config, run, resume=(run / "checkpoints").exists(), pause_after=int(rung) or None)
