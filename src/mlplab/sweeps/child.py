"""Runs a task in a separate process: however the task ends, the waiting process survives and knows why."""

import faulthandler
import multiprocessing
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mlplab import startup
from mlplab.errors import ConfigError, DataError, Interrupted, MlplabError

POLL_S = 0.2
PAUSES_S = (0.1, 1.0)  # before a process is started again
LINGER_S = 5.0  # for threads that a task leaves behind when it returns
NOT_KNOWN = 255  # exit code that multiprocessing reports for a process whose fork server was killed

_context: Any = multiprocessing.get_context(startup.START_METHOD)
_lock = threading.Lock()  # multiprocessing polls all processes when it starts one, and each can be polled once


class Ended(NamedTuple):
    code: int  # 128 plus the number of the signal that killed it, or its exit code
    reason: str = ""
    is_refused: bool = False  # refused for its configuration or its data

    @property
    def is_interrupted(self) -> bool:
        return self.code in (129, 130, 143)


def preload(modules: Sequence[str]) -> None:
    """Import modules once, in a fork server from which each process starts."""
    _context.set_forkserver_preload(list(modules))


def run(task: Callable[..., object], arguments: tuple[object, ...], grace: Callable[[], float | None]) -> Ended:
    """Call `task` in a separate process, which gets SIGTERM when this one dies.

    `grace` is polled: once it returns seconds, the process gets SIGTERM, and SIGKILL after these seconds.
    """
    reader, writer = _context.Pipe(duplex=False)
    process = _context.Process(target=_serve, args=(writer, task, arguments), daemon=True)
    try:
        _start(process)
    except (OSError, EOFError) as error:
        return Ended(1, f"its process could not be started: {error}")
    finally:
        writer.close()
    was_killed = _wait(reader, process.pid, grace)
    ended: Ended | None = None
    with suppress(OSError, EOFError):  # it died before it could answer
        ended = reader.recv()
    code = _exit_code(process)
    if ended is None and was_killed:
        return Ended(143, "it was stopped before it could save")
    return ended or Ended(128 - code if code < 0 else code or 1, _cause(code))


def _start(process: Any) -> None:
    """Start a process; if the fork server has just been killed, multiprocessing soon notices, and starts another."""
    for pause_s in PAUSES_S:
        with suppress(OSError, EOFError), _lock:
            process.start()
            return
        time.sleep(pause_s)
    with _lock:
        process.start()


def _wait(reader: Connection, pid: int, grace: Callable[[], float | None]) -> bool:
    """Wait for the answer, or for the end, which closes the pipe; tell whether the process had to be killed."""
    asked = None
    killed = False
    while not reader.poll(POLL_S):
        if (seconds := grace()) is None:
            continue
        if asked is None:
            asked = time.monotonic()
            startup.end_process(pid)
        killed = time.monotonic() - asked > seconds
        if killed:
            startup.end_process(pid, at_once=True)
    return killed


def _exit_code(process: Any) -> int:
    """Return the exit code of a process that has answered or died; kill it if a thread keeps it alive."""
    deadline = time.monotonic() + LINGER_S
    while True:
        with _lock:
            code: int | None = process.exitcode
        if code is not None:
            return code
        if time.monotonic() > deadline:
            startup.end_process(process.pid, at_once=True)
        time.sleep(0.005)


def _serve(writer: Connection, task: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Call the task in the new process, and send its outcome."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    faulthandler.enable()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ended = _called(task, arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the work is done, and the answer says so
    with suppress(OSError):  # nobody waits any more
        writer.send(ended)
    sys.exit(ended.code)


def _called(task: Callable[..., object], arguments: tuple[object, ...]) -> Ended:
    try:
        task(*arguments)
    except (MlplabError, Interrupted) as error:
        return Ended(error.exit_code, str(error), isinstance(error, ConfigError | DataError))
    except KeyboardInterrupt:
        return Ended(130, "Interrupted.")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code == 143:
            return Ended(code, "Terminated.")
        traceback.print_exc()
        return Ended(code or 1, f"sys.exit({error.code!r})")
    except BaseException as error:
        traceback.print_exc()
        return Ended(1, "".join(traceback.format_exception_only(error)).strip())
    return Ended(0)


def _end_with_parent() -> None:
    """Save and end this process if the waiting one is killed, because nothing else would stop it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    startup.end_this_process()


def _cause(code: int) -> str:
    if code == NOT_KNOWN:
        return "the process ended; its exit code is unknown, because the process that started it ended, too"
    if code >= 0:
        return f"the process ended with exit code {code} and no message"
    memory = ", which the system does when memory runs out" if code == -9 else ""
    return f"the process was killed by {signal.Signals(-code).name}{memory}"
