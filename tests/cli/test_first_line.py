"""The first log line comes before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT, Compose

from mlplab.cli.job import introduction


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), "mnist, 784-128-10, Adam, batch 32, 5 epochs"),
        (("model.hidden=[]", "optimizer=sgd", "trainer.max_epochs=1"), "mnist, 784-10, SGD, batch 32, 1 epoch"),
    ],
)
def test_what_is_to_be_trained(composed: Compose, tmp_path: Path, overrides: tuple[str, ...], expected: str) -> None:
    assert introduction(composed(*overrides), tmp_path) == f"{expected}; run folder {tmp_path}"


def test_it_is_said_before_torch_is_imported(tmp_path: Path) -> None:
    code = """
import logging, os, runpy, sys
class Record(logging.LogRecord):
    def __init__(self, *arguments, **named):
        os.write(1, str([name for name in ("torch", "numpy", "lightning") if name in sys.modules]).encode())
        os._exit(0)
logging.setLogRecordFactory(Record)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    code = f"import sys; sys.argv = [{str(PROJECT / 'train.py')!r}, 'data=digits']\n{code}"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert finished.stdout == "[]", finished.stderr
