"""The whole command line without what Windows lacks, see like_windows/sitecustomize.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT, Finished, Program
from PIL import Image

FAST = ("data=digits", "trainer.max_epochs=2", "trainer.accelerator=cpu")


@pytest.fixture
def windows(program: Program) -> Program:
    """Start programs as on Windows, with text in an old code page by default."""
    path = os.pathsep.join(filter(None, [str(PROJECT / "tests" / "like_windows"), os.environ.get("PYTHONPATH")]))
    program.environment |= {"PYTHONPATH": path, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    program.environment |= {"PYTHONIOENCODING": "cp1252", "PYTHONWARNINGS": "ignore:only soft file lock"}
    return program


def _good(finished: Finished) -> str:
    assert (finished.code, finished.err) == (0, "")
    return finished.out


def test_train_resume_evaluate_predict_show_report_and_sweep(windows: Program, tmp_path: Path) -> None:
    """Run one after another in one process, because imports are slow; jobs of a sweep are not forked on Windows."""
    drawn = Image.new("L", (20, 20), 255)
    drawn.paste(0, (9, 3, 11, 17))
    drawn.save(tmp_path / "one.png")
    sweep = ("-m", *FAST, "show=none", "trainer.profiler=simple,foo", "jobs=1", "sweep_name=two")
    commands = [
        ("train.py", *FAST, "model.hidden=[16,8]", "hydra.run.dir=outputs/run"),
        ("train.py", "resume=outputs/run", "trainer.max_epochs=3"),
        ("scripts/evaluate.py", "outputs/run", "--pictures"),
        ("scripts/predict.py", "outputs/run", "one.png"),
        ("scripts/show.py", "data=digits"),
        ("scripts/report.py", "outputs"),
        ("train.py", *sweep),
    ]
    done = windows.run(json.dumps(commands), script="tests/like_windows/commands.py")
    assert done.code == 0, done.err
    trained, resumed, evaluated, predicted, shown, reported, swept = (
        Finished(*json.loads(line)) for line in done.out.splitlines()
    )
    assert "run folder outputs/run" in _good(trained)
    run = tmp_path / "outputs" / "run"
    assert "resuming " in _good(resumed)
    assert json.loads((run / "result.json").read_text())["epochs"] == 3
    assert "epoch 2/2" in (run / "train.log").read_text(encoding="utf-8")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.out.startswith("test accuracy ")
    assert len(_good(predicted).splitlines()) == 1
    assert "1,437 training images" in _good(shown)
    assert "No run is complete" not in _good(reported)
    assert (tmp_path / "outputs" / "report.md").exists()
    assert swept.code == 6, swept.err
    assert "trainer: Lightning refuses these flags" in swept.out
    assert len(list((tmp_path / "outputs" / "sweeps" / "two").glob("*/result.json"))) == 1


REFUSED = (
    "open('a:b', 'w')",
    "open('nul.txt', 'w')",
    "os.mkdir('dot.')",
    "file = open('open', 'w'); os.replace('closed', 'open')",
    "file = open('open', 'w'); os.replace('open', 'closed')",
    "file = open('open', 'w'); os.remove('open')",
    "os.open('.', os.O_RDONLY)",
    "os.fsync(open('closed').fileno())",
    "import fcntl",
    "import signal; signal.SIGHUP",
    "os.fork()",
    "os.kill(os.getpid(), 0)",
)


def test_what_is_refused_there(windows: Program, tmp_path: Path) -> None:
    """Check the imitation itself, on which the test above depends."""
    (tmp_path / "closed").touch()
    refused = "(OSError, ImportError, AttributeError, AssertionError)"
    tries = "".join(f"try:\n    {code}\nexcept {refused}:\n    print({code!r})\n" for code in REFUSED)
    started = [sys.executable, "-c", f"import os\n{tries}"]
    finished = subprocess.run(started, cwd=tmp_path, env=windows.environment, capture_output=True, text=True)
    assert finished.stdout.splitlines() == list(REFUSED), finished.stderr
