"""A sweep of jobs that do next to nothing; what the launcher hands back goes into returns.json."""

import json
import signal
import time
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from submitit import JobEnvironment

from mlplab.sweeps import slurm

ConfigStore.instance().store(
    "app", {"index": 0, "seconds": 0.0, "hydra": {"sweep": {"dir": "sweep", "subdir": "index=${index}"}}}
)
original = slurm.launch


@hydra.main(version_base="1.3", config_path="../../conf", config_name="app")
def main(config: DictConfig) -> int:
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder / "starts").open("a") as starts:
        starts.write(f"{JobEnvironment().job_id}\n")
    until = time.monotonic() + config.seconds
    while time.monotonic() < until and not (folder.parent / "go").exists():
        time.sleep(0.1)
    if config.index < 0:
        raise ValueError("an index below zero")
    (folder / "finished").touch()
    return int(config.index) ** 2


def launch(launcher: object, job_overrides: list[list[str]], initial_job_idx: int) -> object:
    returns = original(launcher, job_overrides, initial_job_idx)
    told = [[outcome.status.name, str(outcome._return_value)] for outcome in returns]
    Path("returns.json").write_text(json.dumps(told))
    return returns


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    slurm.launch = launch  # type: ignore[assignment]
    main()
