"""Imports and data of all jobs of a sweep: each is a copy of one process that has imported this module."""

import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path

from mlplab import startup

if multiprocessing.parent_process() is None:  # this is the one that is copied
    for _number in startup.FOR_THE_LEADER:
        signal.signal(_number, signal.SIG_IGN)

startup.import_lightning()

import torch  # noqa: E402
from hydra.core.plugins import Plugins  # noqa: E402

import mlplab.training.run  # noqa: E402, F401
from mlplab.data import datasets  # noqa: E402
from mlplab.errors import DataError  # noqa: E402
from mlplab.plots import canvas  # noqa: E402
from mlplab.runs.provenance import versions  # noqa: E402
from mlplab.sweeps import job, queue, worker  # noqa: E402, F401

Plugins.instance()
canvas.png(canvas.figure(1.0))  # imports matplotlib and finds its fonts
versions()  # of the code as it is imported here: the files may change while the sweep runs

_threads = torch.get_num_threads()
torch.set_num_threads(1)  # a process that has begun others cannot be forked: OpenMP would wait for them in the copy
for _name, _root in {one.data for one in job.read(Path(os.environ.get(queue.SWEEP, ""), queue.JOBS))}:
    with suppress(DataError):  # the job will say so
        datasets.keep(_name, Path(_root))
torch.set_num_threads(_threads)
