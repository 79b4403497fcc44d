"""The report on the runs of a folder: their ranking, their differences and what is missing."""

from mlplab.sweeps.report.report import Report

__all__ = ["Report"]
