"""train.py that kills itself at the hook TORTURE_HOOK of Lightning, after TORTURE_CALLS calls."""

import os
import runpy
import signal
import sys
from pathlib import Path

from mlplab import startup

startup.import_lightning()
from lightning.pytorch import Trainer  # noqa: E402
from lightning.pytorch.trainer import call  # noqa: E402

from mlplab.runs import atomic_write  # noqa: E402

left = int(os.environ["TORTURE_CALLS"])
ordinary = call._call_callback_hooks


def _call_callback_hooks(trainer: Trainer, hook: str, *arguments: object, **named: object) -> None:
    global left
    ordinary(trainer, hook, *arguments, **named)
    if hook == os.environ["TORTURE_HOOK"]:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _fsync(handle: int) -> None:
    """Kill in the middle of writing a checkpoint: its bytes are written, but it has no name yet."""
    global left
    path = str(Path(f"/proc/self/fd/{handle}").readlink())
    if path.endswith(".tmp") and "last.ckpt" in path:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sync(handle)


call._call_callback_hooks = _call_callback_hooks
if os.environ["TORTURE_HOOK"] == "fsync":
    sync, atomic_write.os.fsync = os.fsync, _fsync  # type: ignore[attr-defined]
train = Path(__file__).resolve().parents[2] / "train.py"
sys.argv[0] = str(train)
runpy.run_path(str(train), run_name="__main__")
