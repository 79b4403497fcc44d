"""What the jobs of a sweep share: each is a copy of a process that has imported this, and with it has read the data."""

import json
import os
from contextlib import suppress
from pathlib import Path

from mlplab import startup

startup.import_lightning()

import torch  # noqa: E402

import mlplab.training.run  # noqa: E402, F401
from mlplab.cli.job import DATA  # noqa: E402
from mlplab.data import datasets  # noqa: E402
from mlplab.errors import DataError  # noqa: E402
from mlplab.plots import canvas  # noqa: E402
from mlplab.runs.provenance import versions  # noqa: E402

canvas.png(canvas.figure(1.0))  # imports matplotlib and finds its fonts
versions()  # of the code as it is imported here: the files may change while the sweep runs

_threads = torch.get_num_threads()
torch.set_num_threads(1)  # a process that has begun others cannot be forked: OpenMP would wait for them in the copy
for _name, _root in json.loads(os.environ.get(DATA, "[]")):
    with suppress(DataError):  # the job will say so
        datasets.keep(_name, Path(_root))
torch.set_num_threads(_threads)
