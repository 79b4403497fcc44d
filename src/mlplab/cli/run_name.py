"""Default names of run and sweep folders: the command's choices and the time, or the SLURM job, which may restart.

TensorBoard shows them as run names in a narrow list.
"""

import hashlib
import os
import re
import secrets
import sys
from datetime import datetime

from omegaconf import OmegaConf

from mlplab.config.datasets import label as data_label
from mlplab.config.schema import keys_that_affect

LONGEST_LABEL = 40  # characters
# Left out of names: the parent folder is named after the data set.
OF_NO_INTEREST = ("data=", "hydra", "resume", "sweep_name=", "show=", *keys_that_affect("nothing"))


def run_name() -> str:
    """Return a new name for a run; a requeued SLURM job keeps its name.

    `model.hidden=512 seed=1` at 13:41:53 on the 20th of November: hidden=512,seed=1_1120-134153-9c7f.
    """
    if slurm := _slurm_name():
        return slurm
    chosen = [word for word in sys.argv[1:] if re.match(r"[\w.+~]+=", word) and not word.startswith(OF_NO_INTEREST)]
    time = f"{datetime.now():%m%d-%H%M%S}-{secrets.token_hex(2)}"
    return "_".join([*([label(chosen)[:LONGEST_LABEL]] if chosen else []), time])


def label(overrides: list[str]) -> str:
    """`model.hidden=[512,512]`, `seed=1` -> `hidden=512x512,seed=1`."""
    words = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        plain = re.sub(r"[\[\]{}'\" ]", "", value).replace(",", "x").replace("/", "_")
        words.append(f"{key.rpartition('.')[2]}={plain or 'none'}" if "=" in override else key)
    return re.sub(r"[^\w.+=,-]", "_", ",".join(words))


def sweep_folder(given: str | None) -> str:
    """Name a sweep that was given no name."""
    return given or _slurm_name() or f"{datetime.now().strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(3)}"


def _slurm_name() -> str | None:
    job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ.get("SLURM_JOB_ID"))
    if job is None or sys.stdin.isatty():  # an interactive job can start several runs
        return None
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    command = hashlib.sha256(repr(sys.argv[1:]).encode()).hexdigest()[:8]  # one script may start several runs
    return "-".join(["slurm", job, *([task] if task else []), command])


OmegaConf.register_new_resolver("run_name", run_name, use_cache=True)
OmegaConf.register_new_resolver("sweep_folder", sweep_folder, use_cache=True)
OmegaConf.register_new_resolver("data_label", data_label)
