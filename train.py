"""Train a multilayer perceptron: `python train.py model.hidden=512 data=fashion`, or `python train.py --help`."""

from pathlib import Path

from mlplab.cli.launch import launch

if __name__ == "__main__":
    launch(conf=Path(__file__).resolve().with_name("conf"))
