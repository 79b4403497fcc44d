"""Train, compare and explain multilayer perceptrons on MNIST and Fashion-MNIST.

Read mlp.py, datasets.py, datamodule.py and classifier.py first: they work without a configuration. training.py puts
them together for one run, config.py says what can be chosen, command/ what surrounds a run on the command line.
"""
