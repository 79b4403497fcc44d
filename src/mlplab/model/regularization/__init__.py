"""Regularization, each kind off by default and one idea a file. Dropout and noise are layers of mlplab.model.mlp; label
smoothing, of a line, is in mlplab.model.training_step.
"""
