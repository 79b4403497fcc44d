"""Training aids, each off by default and one idea a file. Those of a word or two (dropout, noise, label smoothing) are
layers of mlplab.mlp or arguments of mlplab.classifier.
"""
