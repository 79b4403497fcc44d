"""The errors a person can cause, each with the exit code that a process ends with."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class MlplabError(Exception):
    """Its text is one to five lines: where, what was found, what is allowed, and the way out."""

    exit_code: ClassVar[int]


class ConfigError(MlplabError):
    exit_code = 2


class DataError(MlplabError):
    exit_code = 3


class CheckpointError(MlplabError):
    exit_code = 4


class DivergedError(MlplabError):
    exit_code = 5


class JobsFailedError(MlplabError):
    exit_code = 6


class Interrupted(BaseException):
    """A signal has ended a run, and what it had is saved; not an Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = 128 + number


# Read before Hydra is told to raise, see command.launch, which notes it for the processes that this one starts.
TRACEBACK_WANTED = os.environ.get("MLPLAB_TRACEBACK", os.environ.get("HYDRA_FULL_ERROR")) == "1"
_is_first = os.environ.get("LOCAL_RANK", "0") == "0"  # of a distributed run, which speaks with one voice


@contextmanager
def reported() -> Iterator[None]:
    """End the process with the text and the exit code of an error, without its traceback.

    With HYDRA_FULL_ERROR=1 in the environment the traceback is shown as well.
    """
    try:
        yield
    except MlplabError as error:
        if TRACEBACK_WANTED:
            sys.excepthook(type(error), error, error.__traceback__)
        elif _is_first:
            print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except Interrupted as interrupted:
        if _is_first:
            print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_code)
    except BrokenPipeError:  # the reader of our output has gone; Python would complain about it once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
