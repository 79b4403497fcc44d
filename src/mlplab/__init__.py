"""Train, compare and explain multilayer perceptrons on MNIST and Fashion-MNIST.

Start with model/mlp.py, data/datasets.py, data/datamodule.py and model/classifier.py, which need no configuration.
training/run.py combines them into one run; config/schema.py declares every key; cli/ is the command line.
"""
