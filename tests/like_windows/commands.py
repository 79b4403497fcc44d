"""Run programs of the project in this process, one after another, and print the outcome of each as a line of JSON."""

import io
import json
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":  # the processes of a sweep's jobs import this file
    from hydra.core.global_hydra import GlobalHydra

    for name, *arguments in json.loads(sys.argv[1]):
        sys.argv[:] = [str(PROJECT / name), *arguments]
        sys.path[0] = str((PROJECT / name).parent)
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="replace") for _ in range(2))
        code: object = 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                runpy.run_path(sys.argv[0], run_name="__main__")
            except SystemExit as ended:
                code = ended.code or 0
        GlobalHydra.instance().clear()
        for stream in (out, err):
            stream.seek(0)
        print(json.dumps([code, out.read(), err.read()]), flush=True)
