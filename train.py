"""Train a multilayer perceptron: `python train.py model.hidden=512 data=fashion`, or `python train.py --help`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from mlplab.cli import job
from mlplab.cli.launch import launch


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(composed: DictConfig) -> float:
    return job.run(composed)


if __name__ == "__main__":
    launch(main, conf=Path(__file__).resolve().with_name("conf"))
