"""Hyperparameter search by successive halving: draws are paused at rungs, and the best are continued."""
