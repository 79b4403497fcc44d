"""Regularization, one kind per file, off by default.

Dropout and noise are layers in mlplab.model.mlp; label smoothing is in mlplab.model.training_step.
"""
