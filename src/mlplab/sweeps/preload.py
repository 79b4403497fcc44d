"""Imports and data for all jobs of a sweep: each job is forked from a process that has imported this module."""

import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path

from mlplab import startup

if multiprocessing.parent_process() is None:  # this is the process to fork
    for _number in startup.FOR_THE_LEADER:
        signal.signal(_number, signal.SIG_IGN)

startup.import_lightning()

import torch  # noqa: E402
from hydra.core.plugins import Plugins  # noqa: E402

import mlplab.training.run  # noqa: E402, F401
from mlplab.config import torch_signatures  # noqa: E402
from mlplab.data import datasets  # noqa: E402
from mlplab.errors import DataError  # noqa: E402
from mlplab.plots import canvas  # noqa: E402
from mlplab.runs.provenance import versions  # noqa: E402
from mlplab.sweeps import job, queue, worker  # noqa: E402, F401

Plugins.instance()
for _known in (torch_signatures.optimizers, torch_signatures.schedulers, torch_signatures.activations):
    _known()  # caches the names, whose reading takes a quarter of a second
torch_signatures.trainer_flags()
canvas.png(canvas.figure(1.0))  # imports matplotlib and finds its fonts
versions()  # caches the digest of the imported code, because its files may change during the sweep

_threads = torch.get_num_threads()
torch.set_num_threads(1)  # a process with threads cannot be forked: in the fork, OpenMP would wait for them
for (_name, _root), _reading in {
    (one.data, one.reading) for one in job.read(Path(os.environ.get(queue.SWEEP, ""), queue.JOBS))
}:
    with suppress(DataError):  # the job will report it
        datasets.keep(_name, Path(_root), _reading)
torch.set_num_threads(_threads)
