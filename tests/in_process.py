"""Runs train.py in the process of the tests, which has imported torch, if a separate process is not needed."""

import logging
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
from conftest import PROJECT, Finished
from hydra.core.global_hydra import GlobalHydra


def train(*arguments: str) -> Finished:
    """Run `python train.py` with these arguments, in the working folder."""
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, _captured() as printed, _kept():
        patch.setattr(sys, "argv", ["train.py", *arguments])
        try:
            runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")
        except SystemExit as exit_:
            code = exit_.code
        for file in printed:
            file.seek(0)
        return Finished(code, *(file.read() for file in printed))


def train_in(folder: Path, *arguments: str) -> Finished:
    """Run `python train.py` with these arguments in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return train(*arguments)


_Text = partial(tempfile.TemporaryFile, "w+", buffering=1, encoding="utf-8", errors="replace")


@contextmanager
def _captured() -> Iterator[tuple[IO[str], IO[str]]]:
    """Capture the output of this process and its children in files."""
    before = os.dup(1), os.dup(2)
    with _Text() as out, _Text() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                yield out, err
        finally:
            for number, kept in enumerate(before, 1):
                os.dup2(kept, number)
                os.close(kept)


@contextmanager
def _kept() -> Iterator[None]:
    """Restore the process-wide state that a program may change."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    environment = dict(os.environ)
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        os.environ.clear()
        os.environ.update(environment)
        logging.root.handlers, logging.root.level = handlers, level
        for number, handler in before.items():
            signal.signal(number, handler)
