"""Training aids, each off by default and one idea a file. Those of a line or two (dropout, noise, label smoothing) are
layers of mlplab.model.mlp or arguments of mlplab.model.classifier.
"""
