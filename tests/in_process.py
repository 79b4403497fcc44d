"""train.py in the process of the tests, which has imported torch: for what a process of its own would not change."""

import logging
import os
import runpy
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import PROJECT, Finished
from hydra.core.global_hydra import GlobalHydra


def train(*arguments: str, capfd: pytest.CaptureFixture[str]) -> Finished:
    """`python train.py` with these arguments, in the working folder."""
    capfd.readouterr()
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, _kept():
        patch.setattr(sys, "argv", ["train.py", *arguments])
        try:
            runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")
        except SystemExit as exit_:
            code = exit_.code
    printed = capfd.readouterr()
    return Finished(code, printed.out, printed.err)


@contextmanager
def _kept() -> Iterator[None]:
    """What a program may change of its process without asking who else is in it."""
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
