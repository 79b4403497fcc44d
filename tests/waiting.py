"""Waiting for processes with generous time limits."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 600.0  # generous, for a busy and slow machine


class Process(subprocess.Popen[str]):
    """A process with a generous time limit, killed at the end of a `with` if a test fails."""

    def wait(self, timeout: float | None = PATIENCE_S) -> int:
        return super().wait(timeout)

    def communicate(self, input: str | None = None, timeout: float | None = PATIENCE_S) -> tuple[str, str]:  # noqa: A002
        return super().communicate(input, timeout)

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *rest)


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition holds; the test fails if `process` ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
