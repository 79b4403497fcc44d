"""Programs as copies of a process that has imported what they import: a start takes 0.3 s instead of 3.

The server is a process of its own, so that nothing of a test is in its copies; it ends with the tests.
"""

import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from waiting import PATIENCE_S

# Read by a program while it runs; others are read by Python, torch or the system when a process starts.
READ_LATE = (
    *("PATH", "HOME", "COLUMNS", "LINES", "TERM", "NO_COLOR", "TMPDIR", "MLPLAB_", "HYDRA_FULL_ERROR", "MPLCONFIGDIR"),
    *("SLURM_", "LOCAL_RANK", "RANK", "WORLD_SIZE", "NODE_RANK", "TORTURE_", "http_proxy", "https_proxy", "no_proxy"),
    *("PYTEST_", "XDIST_", "CUDA_VISIBLE_DEVICES"),
)


class Forked:
    """A program, as `subprocess.Popen` would have it in text mode with pipes for its output."""

    def __init__(self, server: "Server", script: Path, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]):
        outs, errs = os.pipe(), os.pipe()
        self.args = [str(script), *arguments]
        self._connection = server.connect()
        request = json.dumps({"argv": self.args, "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(self._connection, [len(request).to_bytes(4, "little")], [outs[1], errs[1]])
        self._connection.sendall(request)
        os.close(outs[1])
        os.close(errs[1])
        self.stdout: IO[str] = open(outs[0])  # noqa: PTH123, SIM115
        self.stderr: IO[str] = open(errs[0])  # noqa: PTH123, SIM115
        self.returncode: int | None = None
        self.pid = int.from_bytes(self._received(PATIENCE_S), "little", signed=True)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait(1.0)
        return self.returncode

    def wait(self, timeout: float | None = PATIENCE_S) -> int:
        if self.returncode is None:
            self.returncode = int.from_bytes(self._received(timeout), "little", signed=True)
        return self.returncode

    def communicate(self, input: str | None = None, timeout: float | None = PATIENCE_S) -> tuple[str, str]:  # noqa: A002
        assert input is None
        streams = (self.stdout, self.stderr)
        out, err = ThreadPoolExecutor(2).map(lambda stream: stream.read(), streams, timeout=timeout)
        self.wait(timeout)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self.kill()
        self.wait()
        self.stdout.close()
        self.stderr.close()
        self._connection.close()

    def _received(self, timeout: float | None) -> bytes:
        self._connection.settimeout(timeout)
        try:
            answer = self._connection.recv(4)
        except TimeoutError as error:
            raise subprocess.TimeoutExpired(self.args, timeout or 0) from error
        assert answer, "the fork server is gone"
        return answer


class Server:
    """The fork server process."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "fork_server"
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.address], env=self.environment, stdin=subprocess.PIPE
        )
        deadline = time.monotonic() + PATIENCE_S
        while not self.address.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def serves(self, env: Mapping[str, str]) -> bool:
        """Tell whether a fork would be the same as a new process."""
        keys = {key for key in {**env, **self.environment} if env.get(key) != self.environment.get(key)}
        return all(key.startswith(READ_LATE) for key in keys)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(self.address))
        return connection

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def serve(address: str) -> None:
    """Answer each connection in a separate process."""
    _import_libraries()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the answering processes are not waited for
    threading.Thread(target=_end_with_the_tests, daemon=True).start()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{address}.new")
    listener.listen(64)
    Path(f"{address}.new").rename(address)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(connection)
            os._exit(0)
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Send the ID of the process that runs the program and, when it has ended, its exit code."""
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 2)
    request, wanted = b"", int.from_bytes(size, "little")
    while len(request) < wanted:
        request += connection.recv(wanted - len(request))
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(json.loads(request), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(pid.to_bytes(4, "little", signed=True))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):  # the client is gone
        connection.sendall(code.to_bytes(4, "little", signed=True))


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> NoReturn:
    """Run a program as Python would, and end with its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", buffering=1, errors="backslashreplace", closefd=False
    )
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    code: Any = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as Python does at its end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(int(code or 0))


def _import_libraries() -> None:
    """All that a program imports of others, in the way in which it does."""
    from mlplab import startup

    startup.import_lightning()
    for name in (
        *("hydra.main", "hydra._internal.hydra", "hydra.core.utils", "omegaconf", "pydantic", "yaml", "rich.console"),
        *("rich.live", "rich.table", "tqdm", "filelock", "PIL.Image", "matplotlib.backends.backend_agg"),
        *("torch.utils.tensorboard", "lightning.pytorch.loggers", "scipy.special"),
    ):
        importlib.import_module(name)


def _end_with_the_tests() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
