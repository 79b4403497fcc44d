"""Tasks in separate processes: their outcome is reported, and they end with the waiting process."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S, Process, wait_until

from mlplab.errors import ConfigError, DataError, DivergedError, Interrupted
from mlplab.sweeps import child

LONG_S = 2 * PATIENCE_S


def writes(path: Path) -> None:
    path.write_text(str(os.getpid()))


def raises(error: BaseException) -> None:
    raise error


def interrupted() -> None:
    raise Interrupted(15, "Terminated.")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(ready: Path, saved: Path) -> None:
    """A task that saves when it is asked to end, like a run."""
    try:
        ready.write_text(str(os.getpid()))  # from here on it may be asked, even before the file is closed
        time.sleep(LONG_S)
    finally:
        saved.touch()


def stubborn(ready: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.touch()
    time.sleep(LONG_S)


def never() -> None:
    return None


def loses_its_server() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def _no_server_is_left() -> Iterator[None]:
    """End the server of these tests: a sweep in the same process needs one that has imported what its jobs do."""
    yield
    if child.startup.START_METHOD == "forkserver":
        child.run(loses_its_server, (), never)


def test_it_is_another_process(tmp_path: Path) -> None:
    assert child.run(writes, (tmp_path / "pid",), never) == (0, "", False)
    assert int((tmp_path / "pid").read_text()) != os.getpid()


@pytest.mark.parametrize(
    ("function", "arguments", "code", "reason", "refused"),
    [
        (raises, (ZeroDivisionError("by zero"),), 1, "ZeroDivisionError: by zero", False),
        (raises, (DivergedError("loss is nan"),), 5, "loss is nan", False),
        (raises, (ConfigError("no such key"),), 2, "no such key", True),
        (raises, (DataError("no such file"),), 3, "no such file", True),
        (interrupted, (), 143, "Terminated.", False),
        (raises, (KeyboardInterrupt(),), 130, "Interrupted.", False),
        (raises, (MemoryError(),), 1, "MemoryError", False),
        (sys.exit, (3,), 3, "sys.exit(3)", False),
        (sys.exit, (), 1, "sys.exit(None)", False),
        (os._exit, (7,), 7, "the process ended with exit code 7 and no message", False),
        (os._exit, (0,), 1, "the process ended with exit code 0 and no message", False),
        (killed, (), 137, "the process was killed by SIGKILL, which the system does when memory runs out", False),
        (os.abort, (), 134, "the process was killed by SIGABRT", False),
    ],
)
def test_how_it_ended_is_told(
    function: Callable[..., Any], arguments: Any, code: int, reason: str, refused: bool
) -> None:
    assert child.run(function, arguments, never) == (code, reason, refused)


@pytest.mark.skipif(child.startup.START_METHOD != "forkserver", reason="needs a fork server")
@pytest.mark.parametrize(("refused", "code"), [(2, 7), (3, 1)])
def test_a_server_that_has_just_been_killed_is_replaced(
    monkeypatch: pytest.MonkeyPatch, refused: int, code: int
) -> None:
    monkeypatch.setattr(child, "PAUSES_S", (0.0, 0.0))
    connect, errors = forkserver.connect_to_new_process, [ConnectionRefusedError(111, "Connection refused")] * refused

    def connect_later(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return connect(*arguments)

    monkeypatch.setattr(forkserver, "connect_to_new_process", connect_later)
    ended = child.run(sys.exit, (7,), never)
    assert ended.code == code
    assert ("could not be started: [Errno 111] Connection refused" in ended.reason) == (code == 1)


def test_many_threads_may_start_some_at_once() -> None:
    """Python polls the processes of all threads when it starts one."""
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.extend(child.run(sys.exit, (7,), never).code for _ in range(10)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [7] * 40


def test_one_that_is_asked_to_end_may_save(tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    ended = child.run(sleeps, (ready, saved), lambda: LONG_S if ready.exists() else None)
    assert (ended.code, ended.reason) == (143, "Terminated.")
    assert saved.exists()


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    ended = child.run(stubborn, (tmp_path / "ready",), lambda: 0.3 if (tmp_path / "ready").exists() else None)
    assert (ended.code, ended.reason) == (143, "it was stopped before it could save")


def loses_its_server_and_fails() -> None:
    loses_its_server()
    time.sleep(1)
    raise ZeroDivisionError("at its end")


def loses_its_server_and_sleeps(ready: Path, saved: Path) -> None:
    loses_its_server()
    sleeps(ready, saved)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no server elsewhere")
def test_the_death_of_its_server_is_no_matter(tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    assert child.run(loses_its_server_and_fails, (), never).reason == "ZeroDivisionError: at its end"
    ended = child.run(loses_its_server_and_sleeps, (ready, saved), lambda: LONG_S if ready.exists() else None)
    assert (ended.code, saved.exists()) == (143, True)
    assert child.run(writes, (tmp_path / "pid",), never).code == 0  # by another server


def leaves_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(LONG_S,)).start()


def test_a_thread_that_it_leaves_behind_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LINGER_S", 0.5)
    started = time.monotonic()
    assert child.run(leaves_a_thread, (), never).code == 0
    assert time.monotonic() - started < PATIENCE_S


def test_it_saves_and_ends_when_nobody_waits_any_more(tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    script = (
        f"import sys; sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]}\n"
        "from pathlib import Path; import test_child as t\n"
        "t.child.run(t.sleeps, (Path(sys.argv[1]), Path(sys.argv[2])), t.never)"
    )
    with Process([sys.executable, "-c", script, ready, saved]) as waiting:
        wait_until(lambda: ready.exists() and bool(ready.read_text()), waiting)
        waiting.kill()
    wait_until(saved.exists)
