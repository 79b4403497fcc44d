"""train.log, and what becomes of a log when its disk is full: one warning, and the run goes on without it."""

import logging
import sys
from pathlib import Path

_warned = False


class LogFile(logging.FileHandler):
    """Hydra makes one in each run folder; it is in UTF-8, whatever the system writes."""

    def __init__(self, filename: str | Path, mode: str = "a") -> None:
        super().__init__(filename, mode, encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            warn_once(self.baseFilename, error)
        else:
            super().handleError(record)


def warn_once(path: object, error: OSError) -> None:
    """Say that a log cannot be written; only once in a process, whatever the number of logs."""
    global _warned
    if not _warned:
        _warned = True
        print(f"{path}: cannot be written: {error.strerror}. Training goes on without logs.", file=sys.stderr)
