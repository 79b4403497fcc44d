"""TAB completion in a real shell."""

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import PROJECT
from waiting import PATIENCE_S

RUN = "outputs/digits/hidden=512,seed=1_1127-134153-7e20"
TRAIN = PROJECT / "train.py"

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="of bash")


COMPLETED = {
    f"python {TRAIN} model.batch_n": f"python {TRAIN} model.batch_norm=",
    f"python {TRAIN} seed=1 data=fas": f"python {TRAIN} seed=1 data=fashion",
    f"python {TRAIN} resume=": f"python {TRAIN} resume={RUN}",
    f"python {TRAIN} resume=outputs/digits/hidden=5": f"python {TRAIN} resume={RUN}",
    f"python {TRAIN} resume={RUN} trainer.max_e": f"python {TRAIN} resume={RUN} trainer.max_epochs=",
    "python train.py outp": "python train.py outputs/",
    "python other.py outp": "python other.py outputs/",
}


def _after_tab(lines: Iterable[str], folder: Path) -> list[str]:
    """Return the completed line: Ctrl-A and `echo` make the shell print it."""
    terminal, end = pty.openpty()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb"}
    command = ["bash", "--norc", "--noprofile", "-i"]
    shell = subprocess.Popen(command, cwd=folder, env=environment, stdin=end, stdout=end, stderr=end)
    os.close(end)
    typed = [f'eval "$(python {TRAIN} -sc install=bash)"; PS1=', *(f"{line}\t\x01echo '<' \x05 '>'" for line in lines)]
    os.write(terminal, "\n".join([*typed, "exit\n"]).encode())
    printed = b""
    try:
        while part := os.read(terminal, 4096):
            printed += part
    except OSError:  # the shell has gone
        pass
    shell.wait(PATIENCE_S)
    os.close(terminal)
    return re.findall(r"^< (.*?) ?>\r$", printed.decode(), re.MULTILINE)


def test_train_py_alone_is_completed(tmp_path: Path) -> None:
    (tmp_path / RUN / ".hydra").mkdir(parents=True)
    (tmp_path / RUN / ".hydra" / "config.yaml").touch()
    (tmp_path / "outputs" / "digits" / "no run").mkdir()
    for name in ("train.py", "other.py"):  # those of others
        (tmp_path / name).write_text("open('was run', 'w')")
    assert _after_tab(COMPLETED, tmp_path) == list(COMPLETED.values())
    assert not (tmp_path / "was run").exists()
