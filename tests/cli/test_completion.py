"""TAB in a shell, as a person presses it."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT
from waiting import PATIENCE_S

RUN = "outputs/digits/hidden=512,seed=1_1127-134153-7e20"
TRAIN = PROJECT / "train.py"

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="of bash")


def _after_tab(line: str, folder: Path) -> str:
    """What stands behind the prompt then: Ctrl-A and `echo` make the shell print it."""
    terminal, end = pty.openpty()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb"}
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=folder,
        env=environment,
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    install = f'eval "$(python {TRAIN} -sc install=bash)"; PS1='
    os.write(terminal, f"{install}\n{line}\t\x01echo '<' \x05 '>'\nexit\n".encode())
    printed = b""
    try:
        while part := os.read(terminal, 4096):
            printed += part
    except OSError:  # the shell has gone
        pass
    shell.wait(PATIENCE_S)
    os.close(terminal)
    found = re.findall(r"^< (.*?) ?>\r$", printed.decode(), re.MULTILINE)
    assert found, printed
    return str(found[-1])


@pytest.mark.parametrize(
    ("begun", "completed"),
    [
        (f"python {TRAIN} model.batch_n", f"python {TRAIN} model.batch_norm="),
        (f"python {TRAIN} seed=1 data=fas", f"python {TRAIN} seed=1 data=fashion"),
        (f"python {TRAIN} resume=", f"python {TRAIN} resume={RUN}"),
        (f"python {TRAIN} resume=outputs/digits/hidden=5", f"python {TRAIN} resume={RUN}"),
        (f"python {TRAIN} resume={RUN} trainer.max_e", f"python {TRAIN} resume={RUN} trainer.max_epochs="),
        ("python train.py outp", "python train.py outputs/"),
        ("python other.py outp", "python other.py outputs/"),
    ],
)
def test_train_py_alone_is_completed(tmp_path: Path, begun: str, completed: str) -> None:
    (tmp_path / RUN / ".hydra").mkdir(parents=True)
    (tmp_path / RUN / ".hydra" / "config.yaml").touch()
    (tmp_path / "outputs" / "digits" / "no run").mkdir()
    for name in ("train.py", "other.py"):  # those of others
        (tmp_path / name).write_text("open('was run', 'w')")
    assert _after_tab(begun, tmp_path) == completed
    assert not (tmp_path / "was run").exists()
