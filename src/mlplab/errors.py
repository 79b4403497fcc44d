"""User errors, each with the exit code of the process."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, ClassVar, TextIO, cast


class MlplabError(Exception):
    """Base class; the message has one to five lines: where, what was found, what is allowed, and how to fix it."""

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
    """A signal has ended a run, which is saved; not an Exception, so that it is not handled as a failure."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = 128 + number


class Paused(BaseException):
    """A run has reached the epoch after which it pauses, and is saved; neither a failure nor a signal."""


LOST_OUTPUT = 7  # exit code if output could not be printed, for example because a disk is full

TRACEBACK_WANTED = os.environ.get("HYDRA_FULL_ERROR") == "1"


class _Output:
    """A standard stream that writes ? for characters it cannot encode, and nothing once writing has failed.

    Unless it failed because the reader is gone, `is_lost` is set, and a stream with a name reports the failure.
    """

    GONE = (errno.EPIPE, errno.EINVAL, errno.EIO)  # a closed pipe, one on Windows, a terminal

    def __init__(self, stream: TextIO, name: str = "") -> None:
        self._stream, self._name, self.is_lost = stream, name, False
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if error.errno not in self.GONE:
                self.is_lost = True
                if self._name:
                    say(f"{self._name}: cannot be written: {error.strerror}. The program goes on without it.")


@contextmanager
def reported() -> Iterator[None]:
    """End the process with the text and the exit code of an error, without its traceback.

    With HYDRA_FULL_ERROR=1 in the environment the traceback is shown as well. If standard output cannot be written,
    a message says so, the work is still done, and the exit code, unless there is an error, is LOST_OUTPUT.
    """
    _open_standard_streams()
    with ExitStack() as stack:
        out = None if isinstance(sys.stdout, _Output) else _Output(sys.stdout, "standard output")
        err = None if isinstance(sys.stderr, _Output) else _Output(sys.stderr)
        for redirect, output in ((redirect_stdout, out), (redirect_stderr, err)):
            if output is not None:
                stack.callback(output.flush)
                stack.enter_context(redirect(cast(TextIO, output)))
        try:
            yield
            if out is not None:
                out.flush()
                if out.is_lost:
                    sys.exit(LOST_OUTPUT)
        except MlplabError as error:
            if TRACEBACK_WANTED:
                sys.excepthook(type(error), error, error.__traceback__)
            else:
                print(error, file=sys.stderr)
            sys.exit(error.exit_code)
        except Interrupted as interrupted:
            say(str(interrupted))
            sys.exit(interrupted.exit_code)
        except KeyboardInterrupt:
            say("Interrupted.")
            sys.exit(130)


def output_is_in_files() -> None:
    """Let the process end with 0 even if standard output could not be written, because files hold all of it."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.flush()
        sys.stdout.is_lost = False


def say(text: str) -> None:
    """Print on standard error, even if a signal interrupted another print; a closed terminal is ignored."""
    try:
        os.write(2, f"{text}\n".encode(sys.stderr.encoding, "replace"))
    except OSError:  # flushing the rest at exit would fail and change the exit code
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _open_standard_streams() -> None:
    """Open closed streams (2>&-): otherwise the next opened file would get their number, and the printed text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: PTH123, SIM115
