"""Python imports it at its start where it is on the path: a system without what Windows lacks.

It is not Windows. This project's code does not find the names that are missing there, and what its file system refuses
is refused. Installed packages go on believing that they are on Linux, and find them.
"""

import fcntl
import multiprocessing.context
import os
import signal
import sys
from types import ModuleType
from typing import Any

SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
OF_SIGNAL = {"alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "sigpending", "sigwait"}
OF_OS = {
    *("fork", "forkpty", "getegid", "geteuid", "getgid", "getpgid", "getuid", "killpg", "mkfifo", "nice", "setsid"),
    *("sched_getaffinity", "sched_setaffinity", "statvfs", "uname", "wait3", "wait4"),
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"),
}
MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
FORBIDDEN = set('<>:"|?*')
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}

_kill, _KILL = os.kill, signal.SIGKILL
_getfl, _fsync = (lambda handle, get=fcntl.fcntl, flag=fcntl.F_GETFL: get(handle, flag)), os.fsync


def _check(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what the file system of Windows refuses."""
    if event in ("os.rename", "os.remove", "os.rmdir"):
        for path in arguments[: 2 if event == "os.rename" else 1]:
            if _is_open(os.path.abspath(os.fsdecode(path))):
                raise PermissionError(13, "The process cannot access the file because it is being used", path)
    if event == "open" and isinstance(arguments[0], str) and arguments[1] is None and os.path.isdir(arguments[0]):
        raise PermissionError(13, "Permission denied", arguments[0])
    if event in ("open", "os.mkdir", "os.rename", "os.link"):
        for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
            if isinstance(path, str | os.PathLike) and not all(map(_is_name, os.fspath(path).split("/"))):
                raise OSError(22, "The file name, directory name, or volume label syntax is incorrect", path)
    if event == "os.symlink":
        raise OSError(1314, "A required privilege is not held by the client", arguments[1])


def _is_open(path: str) -> bool:
    """Tell whether this process has opened a path, or a file in it."""
    links = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{handle}"))
        except OSError:  # that of the list itself
            continue
    return any(link == path or link.startswith(f"{path}/") for link in links)


def _is_name(part: str) -> bool:
    is_plain = part in ("", ".", "..") or not part.endswith((".", " "))
    return is_plain and not FORBIDDEN & set(part) and part.partition(".")[0].upper() not in RESERVED


def _flush(handle: int) -> None:
    if _getfl(handle) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    _fsync(handle)


def _end(pid: int, number: int) -> None:
    if not _is_ours(sys._getframe(1).f_globals["__name__"]):
        _kill(pid, number)
    elif number == signal.SIGTERM:
        _kill(pid, _KILL)  # no handler of that process is called
    else:
        raise AssertionError(f"os.kill({pid}, {number}) would end that process")


def _is_ours(module: str) -> bool:
    return module.startswith(("mlplab", "hydra_plugins.mlplab", "__main__"))


class _Signal(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        is_missing = name in OF_SIGNAL or (name.startswith("SIG") and name not in SIGNALS)
        if is_missing and _is_ours(sys._getframe(1).f_globals["__name__"]):
            raise AttributeError(f"module 'signal' has no attribute {name!r}")
        return super().__getattribute__(name)


class _Os(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        if name in OF_OS and _is_ours(sys._getframe(1).f_globals["__name__"]):
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return super().__getattribute__(name)


signal.__class__, os.__class__ = _Signal, _Os
for name in MODULES:
    sys.modules[name] = None  # type: ignore[assignment]
contexts: Any = multiprocessing.context
contexts._concrete_contexts = {"spawn": contexts.SpawnContext()}
multiprocessing.set_start_method("spawn")
os.fsync, os.kill = _flush, _end  # type: ignore[assignment]
sys.addaudithook(_check)
