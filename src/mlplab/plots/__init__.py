"""Matplotlib figures from numpy arrays and plain values."""
