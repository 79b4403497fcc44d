"""Train a multilayer perceptron: `python train.py model.hidden=512 data=fashion`, or `python train.py --help`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from mlplab import command, process
from mlplab.command.job import Job


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(composed: DictConfig) -> float:
    job = Job.of(composed)
    process.import_lightning()  # once the configuration is good, because it takes seconds
    from mlplab.training import train

    return train(job.config, job.folder, job.resume, job.began).score


if __name__ == "__main__":
    command.launch(main, conf=Path(__file__).resolve().with_name("conf"))
