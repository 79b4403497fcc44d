"""train.py that kills itself at TORTURE_AT, which it has passed TORTURE_CALLS times before.

That is after a hook of Lightning such as on_train_end, before a file such as /draws.jsonl is synced, when its bytes are
written, or before a call of a function such as mlplab.sweeps.job.write.
"""

import importlib
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from mlplab import startup

at, left = os.environ["TORTURE_AT"], int(os.environ["TORTURE_CALLS"])
function = at
if is_hook := at.startswith("on_"):
    startup.import_lightning()
    function = "lightning.pytorch.trainer.call._call_callback_hooks"
elif at.startswith("/"):
    function = "os.fsync"
where, _, name = function.rpartition(".")
module = importlib.import_module(where)
ordinary = getattr(module, name)


def counts(*arguments: Any) -> bool:
    if function == "os.fsync":
        return at in str(Path(f"/proc/self/fd/{arguments[0]}").readlink())
    return not is_hook or arguments[1] == at


def killing(*arguments: Any, **named: Any) -> Any:
    global left
    if is_hook:
        ordinary(*arguments, **named)
    left -= counts(*arguments)
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return None if is_hook else ordinary(*arguments, **named)


setattr(module, name, killing)
train = Path(__file__).resolve().parents[2] / "train.py"
sys.argv[0] = str(train)
runpy.run_path(str(train), run_name="__main__")
