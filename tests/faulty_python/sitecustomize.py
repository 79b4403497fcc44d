"""Python imports it at its start where it is on the path: the jobs of a sweep are then those of faults.py."""

import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

_run = BaseProcess.run


def _run_with_faults(process: BaseProcess) -> None:
    writer, function, arguments = process._args if len(process._args) == 3 else (None, None, None)
    if getattr(function, "__module__", "") == "mlplab.sweeps.worker":
        sys.path.append(str(Path(__file__).resolve().parents[1]))
        import faults

        process._args = (writer, faults.train, arguments)
    _run(process)


BaseProcess.run = _run_with_faults  # type: ignore[method-assign]
