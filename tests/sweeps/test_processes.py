"""A process of its own: what becomes of it is told, and what becomes of the one that waits is noticed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S, Process, wait_until

from mlplab import system
from mlplab.errors import DivergedError, Interrupted
from mlplab.sweeps import processes

LONG_S = 2 * PATIENCE_S


def doubled(number: int) -> int:
    return 2 * number


def raises(error: BaseException) -> None:
    raise error


def interrupted() -> None:
    raise Interrupted(15, "Terminated.")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(ready: Path, saved: Path) -> None:
    """As a run does: what it has is saved when it is asked to end."""
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


def test_the_value_comes_back() -> None:
    assert processes.run(doubled, (21,), never) == 42


@pytest.mark.parametrize(
    ("function", "arguments", "code", "reason"),
    [
        (raises, (ZeroDivisionError("by zero"),), 1, "ZeroDivisionError: by zero"),
        (raises, (DivergedError("loss is nan"),), 5, "loss is nan"),
        (interrupted, (), 143, "Terminated."),
        (raises, (KeyboardInterrupt(),), 130, "Interrupted."),
        (raises, (MemoryError(),), 1, "MemoryError"),
        (sys.exit, (3,), 3, "sys.exit(3)"),
        (sys.exit, (), 0, "sys.exit(None)"),
        (os._exit, (7,), 7, "the process ended with exit code 7 and said nothing"),
        (os._exit, (0,), 0, "the process ended with exit code 0 and said nothing"),
        (killed, (), 137, "the process was killed by SIGKILL, as the system does when memory is short"),
        (os.abort, (), 134, "the process was killed by SIGABRT"),
    ],
)
def test_why_there_is_none_is_told(function: Callable[..., Any], arguments: Any, code: int, reason: str) -> None:
    with pytest.raises(processes.Ended) as caught:
        processes.run(function, arguments, never)
    assert (caught.value.code, str(caught.value)) == (code, reason)


def test_who_is_asked_to_end_may_save(tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    with pytest.raises(processes.Ended) as caught:
        processes.run(sleeps, (ready, saved), lambda: LONG_S if ready.exists() else None)
    assert (caught.value.code, str(caught.value)) == (143, "Terminated.")
    assert saved.exists()


def test_who_does_not_end_is_killed(tmp_path: Path) -> None:
    with pytest.raises(processes.Ended, match="it was stopped before it could save") as caught:
        processes.run(stubborn, (tmp_path / "ready",), lambda: 0.3 if (tmp_path / "ready").exists() else None)
    assert caught.value.code == 143


def leaves_a_process(left: Path) -> None:
    if os.fork() == 0:
        left.write_text(str(os.getpid()))
        time.sleep(LONG_S)
    wait_until(lambda: left.exists() and bool(left.read_text()))
    os.kill(os.getpid(), signal.SIGKILL)


def leaves_a_thread() -> int:
    threading.Thread(target=time.sleep, args=(LONG_S,)).start()
    return 42


def loses_its_server(ready: Path) -> None:
    ready.write_text(str(os.getpid()))
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(LONG_S)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no server elsewhere")
def test_without_its_server_it_is_ended(tmp_path: Path) -> None:
    with pytest.raises(processes.Ended, match="the process that it was a copy of was killed"):
        processes.run(loses_its_server, (tmp_path / "pid",), never)
    assert not system.is_alive(int((tmp_path / "pid").read_text()))
    assert processes.run(doubled, (21,), never) == 42  # by another server


def test_the_server_can_be_ended() -> None:
    assert processes.run(os.getpid, (), never) != os.getpid()
    server = processes.run(os.getppid, (), never)
    system.end_forkserver()
    assert not system.is_alive(server)
    assert processes.run(doubled, (21,), never) == 42


def test_what_it_leaves_behind_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LINGER_S", 0.5)
    started = time.monotonic()
    with pytest.raises(processes.Ended, match="SIGKILL"):
        processes.run(leaves_a_process, (tmp_path / "left",), never)
    os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
    assert processes.run(leaves_a_thread, (), never) == 42
    assert time.monotonic() - started < PATIENCE_S


def test_it_can_be_stopped_from_a_handler(tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"

    def stop_when_ready() -> None:
        wait_until(ready.exists)
        while not saved.exists():  # the one that waits may not know yet that it has started
            processes.stop(0.1)

    processes.stop(1)  # nothing runs
    thread = threading.Thread(target=stop_when_ready)
    thread.start()
    with pytest.raises(processes.Ended, match="Terminated"):
        processes.run(sleeps, (ready, saved), never)
    thread.join()
    assert saved.exists()


def exits(ready: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    ready.touch()
    time.sleep(LONG_S)


def test_who_stops_it_does_not_take_its_exit_code_from_who_waits(tmp_path: Path) -> None:
    ready = tmp_path / "ready"

    def stop_when_ready() -> None:
        wait_until(ready.exists)
        processes.stop(PATIENCE_S)

    thread = threading.Thread(target=stop_when_ready)
    thread.start()
    with pytest.raises(processes.Ended) as caught:
        processes.run(exits, (ready,), never)
    thread.join()
    assert caught.value.code == 7


def test_it_saves_and_ends_when_nobody_waits_any_more(tmp_path: Path) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path; import test_processes as t\n"
        "t.processes.run(t.sleeps, (Path(sys.argv[1]), Path(sys.argv[2])), t.never)"
    )
    with Process([sys.executable, "-c", script, ready, saved]) as waiting:
        wait_until(lambda: ready.exists() and bool(ready.read_text()), waiting)
        waiting.kill()
    wait_until(saved.exists)
