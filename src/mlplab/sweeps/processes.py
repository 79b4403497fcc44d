"""A function in a process of its own: however it ends, the process that waits for it lives on and knows why."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from mlplab import system
from mlplab.errors import Interrupted, MlplabError

POLL_S = 0.2
SERVER_DIED = 255  # what multiprocessing says of a process whose server is gone; it may live on
LINGER_S = 5.0  # for what a function leaves behind, once it has returned

_server: Any = multiprocessing.get_context(system.START_METHOD)
_running: Any = None  # the process that is waited for


class Ended(Exception):  # noqa: N818  # a signal is no error of the process
    """It came to no result: `code` is 128 and the signal's number, or what it exited with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def preload(modules: Sequence[str]) -> None:
    """What each process has imported when it starts, because all are copies of one that did."""
    _server.set_forkserver_preload(list(modules))


def run(function: Callable[..., Any], arguments: tuple[Any, ...], patience: Callable[[], float | None]) -> Any:
    """What `function` returns, in a process of its own, which gets SIGTERM when this one dies.

    Args:
        function: what to call.
        arguments: for it.
        patience: asked all the time: once it gives seconds, the process gets SIGTERM, and SIGKILL after these.

    Raises:
        Ended: if it raised, exited, or was killed.
    """
    global _running
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method(
            system.START_METHOD, force=True
        )  # joblib's worker has one that only joblib knows
    reader, writer = _server.Pipe(duplex=False)
    process = _server.Process(target=_serve, args=(writer, function, arguments))
    try:
        with system.blocked(system.NOT_FOR_ALL):  # the server too, if this is the first
            process.start()
    except (OSError, EOFError) as error:
        raise Ended(1, f"its process could not be started: {error}") from error
    finally:
        writer.close()
    _running = process
    try:
        was_killed = _wait(reader, process, patience)
        answer = _received(reader)
    finally:
        _running = None
        _end(process)
    if answer is None:
        code = process.exitcode or 0
        reason = "it was stopped before it could save" if was_killed else _cause(code)
        answer = (False, 143 if was_killed else 128 - code if code < 0 else code, reason)
    good, *content = answer
    if not good:
        raise Ended(*content)
    return content[0]


def stop(seconds: float) -> None:
    """Ask the process that is running, if there is one, to save and to end, and wait that long for it."""
    process = _running
    if process is not None and not wait([process.sentinel], 0):
        process.terminate()
        wait([process.sentinel], seconds)  # join would take the exit code from `run`, which this may have interrupted


def become_worker(leader: int) -> None:
    """End this process when the one that leads is gone, and not by what a terminal sends to all of them."""
    if not any(thread.name == "end with leader" for thread in threading.enumerate()):
        for number in (signal.SIGINT, *system.HANGUP):
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=_end_with, args=(leader,), name="end with leader", daemon=True).start()


def _wait(reader: Connection, process: Any, patience: Callable[[], float | None]) -> bool:
    """Until there is an answer or the process is dead; whether it had to be killed."""
    asked = seconds = None
    killed = False
    while not wait([reader, process.sentinel], POLL_S):
        given = patience()
        seconds = seconds if given is None else given
        if seconds is None:
            continue
        if asked is None:
            asked = time.monotonic()
            process.terminate()
        if time.monotonic() - asked > seconds:
            killed = True
            process.kill()
    return killed


def _received(reader: Connection) -> Any:
    """What the process sent; None if it died before that, even if a process of its own lives on."""
    try:
        return reader.recv() if reader.poll() else None
    except (OSError, EOFError):
        return None


def _end(process: Any) -> None:
    """It has answered, is dead, or nobody wants to know any more."""
    if sys.exc_info()[0] is not None:
        process.terminate()
    process.join(LINGER_S)
    if process.is_alive():
        process.kill()
        process.join()
    elif process.exitcode == SERVER_DIED and system.is_alive(process.pid):
        for number in (signal.SIGTERM, *system.KILL):
            with suppress(ProcessLookupError):
                system.send(process.pid, number)
            deadline = time.monotonic() + LINGER_S
            while system.is_alive(process.pid) and time.monotonic() < deadline:
                time.sleep(POLL_S)


def _serve(writer: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """In the new process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    system.unblock(signal.SIGTERM)
    faulthandler.enable()
    threading.Thread(target=_end_with_waiting, daemon=True).start()
    code = 1
    try:
        answer: tuple[Any, ...] = (True, function(*arguments))
        code = 0
    except (MlplabError, Interrupted) as error:
        code = error.exit_code
        answer = (False, code, str(error))
    except KeyboardInterrupt:
        code = 130
        answer = (False, code, "Interrupted.")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        answer = (False, code, "Terminated." if code == 143 else f"sys.exit({error.code!r})")
        if code != 143:
            traceback.print_exc()
    except BaseException as error:
        traceback.print_exc()
        answer = (False, code, "".join(traceback.format_exception_only(error)).strip())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the work is done, and the answer says so
    with suppress(OSError):  # nobody waits any more
        writer.send(answer)
    sys.exit(code)


def _end_with_waiting() -> None:
    """The process that waits for the answer may be killed: nobody else would then stop this one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    system.send(os.getpid(), signal.SIGTERM)


def _end_with(leader: int) -> None:
    while system.is_alive(leader):
        time.sleep(POLL_S)
    os._exit(1)


def _cause(code: int) -> str:
    if code == SERVER_DIED:
        return "the process that it was a copy of was killed"
    if code >= 0:
        return f"the process ended with exit code {code} and said nothing"
    memory = ", as the system does when memory is short" if -code in system.KILL else ""
    return f"the process was killed by {signal.Signals(-code).name}{memory}"
