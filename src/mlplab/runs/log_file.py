"""train.log; if the disk is full, there is one warning, and the run goes on without logs."""

import logging
import sys
from pathlib import Path

_warned = False


class LogFile(logging.FileHandler):
    """Log file that Hydra makes in each run folder; always in UTF-8."""

    def __init__(self, filename: str | Path, mode: str = "a") -> None:
        super().__init__(filename, mode, encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            warn_once(self.baseFilename, error)
        else:
            super().handleError(record)


def warn_once(path: object, error: OSError) -> None:
    """Warn that a log cannot be written, only once in a process."""
    global _warned
    if not _warned:
        _warned = True
        print(f"{path}: cannot be written: {error.strerror}. Training goes on without logs.", file=sys.stderr)
