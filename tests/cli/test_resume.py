"""Resumed runs: after a kill, with changes, from damaged folders; and folders used by two processes."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

import hostile_files
import pytest
import states
import yaml
from conftest import Command, Once, Program, files_of
from fork_server import Server

from mlplab.runs import checkpoint_file
from mlplab.runs.result import write_status

# Epochs of 39 steps, some 50 ms each.
DIGITS = ("data=digits", "model.hidden=[64,64]", "model.dropout=0.3", "trainer.max_epochs=40")


@pytest.fixture(autouse=True)
def _data_as_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPLAB_DATA")


@pytest.fixture(scope="session")
def whole(once: Once, fork_server: Server) -> Path:
    """An undisturbed run."""
    return once("whole", lambda folder: Program(folder, fork_server).run(*DIGITS, "hydra.run.dir=run"))[0] / "run"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A complete run for a test to damage, with a last checkpoint and the one before it."""
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    shutil.copy(folder / "checkpoints" / "last.ckpt", folder / "checkpoints" / "last.previous.ckpt")
    return folder


def _after_epochs(process: subprocess.Popen[str], epochs: int) -> None:
    """Wait until this many epochs have been printed."""
    for line in process.stdout:
        epochs -= line.startswith("epoch ")
        if not epochs:
            return
    raise AssertionError(f"ended with {process.wait()}")


def _status(folder: Path) -> str:
    return str(json.loads((folder / "status.json").read_text())["status"])


def _is_the_whole(folder: Path, whole: Path, but: Collection[str] = ()) -> None:
    """Assert that a run is the same to the last bit, except for these TensorBoard tags."""
    assert states.problems(folder, whole, but) == []
    assert _status(folder) == "completed"


@pytest.mark.parametrize("when", ["at any time", "in the write of a checkpoint"])
def test_a_killed_run_is_resumed_to_the_same_end(
    program: Program, command: Command, tmp_path: Path, whole: Path, when: str
) -> None:
    if when == "at any time":
        with program.start(*DIGITS, "hydra.run.dir=run") as process:
            _after_epochs(process, 3)
            process.kill()
            _, err = process.communicate()
    else:
        program.environment |= {"TORTURE_AT": "/.last.ckpt.", "TORTURE_CALLS": "3"}
        with program.start(*DIGITS, "hydra.run.dir=run", script="tests/torture/killed.py") as process:
            _, err = process.communicate()
        checkpoints = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
        assert f".last.ckpt.{process.pid}.mlplab.tmp" in checkpoints
        assert (
            checkpoint_file.read(tmp_path / "run" / "checkpoints" / "last.ckpt")["epoch"] >= 1
        )  # a slow disk: not each
    assert process.returncode == -signal.SIGKILL
    assert err == ""
    assert not (tmp_path / "run" / "result.json").exists()
    assert _status(tmp_path / "run") == "running"

    finished = command("resume=run")
    assert finished.code == 0, finished.err
    assert "resuming run in epoch" in finished.out
    _is_the_whole(tmp_path / "run", whole)
    log = (tmp_path / "run" / "train.log").read_text()
    assert "epoch  1/40" in log
    assert "epoch 40/40" in log


def test_a_folder_in_use_is_refused(program: Program, command: Command, tmp_path: Path) -> None:
    words = ("data=digits", "trainer.max_epochs=100000", "hydra.run.dir=run")
    with program.start(*words) as process:
        _after_epochs(process, 1)
        before = (tmp_path / "run" / "train.log").read_text()
        for arguments in (["resume=run"], words):
            finished = command(*arguments)
            assert finished.code == 2
            who = f"process {process.pid} on {socket.gethostname()}"
            assert finished.err == f"run: another process ({who}) is using it. Wait for it, or stop it.\n"
        assert (tmp_path / "run" / "train.log").read_text().startswith(before)
        process.kill()


def test_a_requeued_job_is_resumed(
    program: Program, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Path
) -> None:
    """SLURM announces the end with SIGUSR1; scontrol is called, and the same command runs again later."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    scontrol.chmod(0o755)
    path = program.environment["PATH"]
    program.environment |= {"SLURM_JOB_ID": "42", "PATH": f"{scontrol.parent}:{path}"}
    with program.start(*DIGITS) as process:
        _after_epochs(process, 2)
        process.send_signal(signal.SIGUSR1)
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGUSR1, err
    assert (tmp_path / "called").read_text() == "requeue 42\n"
    assert "Traceback" not in err
    (run,) = tmp_path.glob("outputs/digits/slurm-42-*")
    assert f"Resume with: python train.py resume=outputs/digits/{run.name}" in err
    assert _status(run) == "interrupted"
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    finished = command(*DIGITS)
    assert finished.code == 0, finished.err
    assert f"resuming outputs/digits/{run.name} in epoch" in finished.out
    _is_the_whole(run, whole)
    again = command(*DIGITS)
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith(f"outputs/digits/{run.name}: completed after 40 epochs, test accuracy ")


def test_a_completed_run_says_so(run: Path, command: Command, tmp_path: Path) -> None:
    """Naming a default is not a change, and the folder may have any name."""
    before = files_of(run)
    defaults = ("trainer.precision=32", "optimizer.weight_decay=0", "trainer.accumulate_grad_batches=1")
    name = "model.hidden=[64,64], it's a run"
    for words in (
        ("resume=run",), ("resume=run/checkpoints/last.ckpt",), ("resume=run", *defaults),
        (*DIGITS, "hydra.run.dir=run", *defaults), (f"resume={name}",),
    ):  # fmt: skip
        if name in words[0]:
            run.rename(tmp_path / name)
        finished = command(*words)
        assert (finished.code, finished.err) == (0, "")
        assert finished.out.startswith(
            f"{name if name in words[0] else 'run'}: completed after 40 epochs, test accuracy "
        )
    assert files_of(tmp_path / name) == before


def test_a_run_with_former_keys_is_the_same_run(run: Path, command: Command) -> None:
    path = run / ".hydra" / "config.yaml"
    stored = yaml.safe_load(path.read_text())
    today = stored.pop("regularization")
    stored["model"]["input_noise"] = today["input_noise"]
    stored |= {"aids": {"mixup": today["mixup"]}, "averaging": {"name": None}, "augment": {"shift": today["shift"]}}
    path.write_text(yaml.safe_dump(stored))
    finished = command(*DIGITS, "hydra.run.dir=run")
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.startswith("run: completed after 40 epochs, test accuracy ")


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (["model.hidden=32"], ["model.hidden: the run has [64, 64], the command 32"]),
        (
            ["optimizer=sgd"],
            ["optimizer.name: the run has Adam, the command SGD", "optimizer.lr: ", "...", "optimizer.lr"],
        ),
        (["seed=3", "data.batch_size=7"], ["seed: the run has 0, the command 3", "data.batch_size: "]),
        (["trainer.max_epochs=39"], ["trainer.max_epochs: the run has 40, the command 39 (only upwards)"]),
        (["trainer.gradient_clip_val=1"], ["trainer.gradient_clip_val: the run has None, the command 1"]),
    ],
)
def test_what_changes_the_figures_is_refused(run: Path, command: Command, given: list[str], lines: list[str]) -> None:
    finished = command("resume=run", *given)
    assert finished.code == 2
    first, *found = finished.err.splitlines()
    assert first == "run: holds another run, which cannot be resumed with these settings:"
    for line in lines:
        assert any(words.startswith(line) for words in found), finished.err
    assert len(found) <= 4
    assert not finished.out


def test_a_flag_that_is_left_out_is_named(run: Path, command: Command) -> None:
    path = run / ".hydra" / "config.yaml"
    stored = yaml.safe_load(path.read_text())
    stored["trainer"] |= {"limit_train_batches": 0.1, "overfit_batches": 2}
    path.write_text(yaml.safe_dump(stored))
    before = files_of(run)
    finished = command(*DIGITS, "hydra.run.dir=run")
    assert finished.code == 2
    assert finished.err.splitlines() == [
        "run: holds another run, which cannot be resumed with these settings:",
        "trainer.limit_train_batches: the run has 0.1, the command 1.0",
        "trainer.overfit_batches: the run has 2, the command 0.0",
        "Choose another hydra.run.dir, or omit it.",
    ]
    assert files_of(run) == before


def test_last_is_the_newest_run(run: Path, command: Command, tmp_path: Path) -> None:
    assert command("resume=last").err == "last: there is no run below outputs/ yet.\n"
    old, new = tmp_path / "outputs" / "digits" / "old", tmp_path / "outputs" / "sweeps" / "name" / "new"
    for folder in (old, new):
        shutil.copytree(run, folder)
    (new / "status.json").touch()
    assert command("resume=last").out.startswith("outputs/sweeps/name/new: completed after 40 epochs")
    os.utime(new / "status.json", (1, 1))
    assert command("resume=last").out.startswith("outputs/digits/old: completed after 40 epochs")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("scheduler=onecycle", "its schedule spans the run"),
        ("averaging=swa", "regularization.swa_start is a fraction of the run"),
    ],
)
def test_what_spans_the_run_keeps_its_length(command: Command, word: str, reason: str) -> None:
    assert command("data=digits", "trainer.max_epochs=1", word, "hydra.run.dir=run").code == 0
    finished = command("resume=run", "trainer.max_epochs=2")
    assert finished.code == 2
    assert f"trainer.max_epochs: the run has 1, the command 2 ({reason})" in finished.err


def test_a_longer_run_keeps_its_length(run: Path, command: Command) -> None:
    finished = command("resume=run", "trainer.max_epochs=41", "trainer.enable_progress_bar=false")
    assert finished.code == 0, finished.err
    assert json.loads((run / "result.json").read_text())["epochs"] == 41
    assert json.loads((run / "result.40-epochs.json").read_text())["epochs"] == 40
    assert yaml.safe_load((run / ".hydra" / "config.yaml").read_text())["trainer"]["max_epochs"] == 41
    assert command("resume=run").out.startswith("run: completed after 41 epochs")


def _unfinished(run: Path) -> None:
    (run / "result.json").unlink()


def test_without_a_good_checkpoint_a_run_ends_with_4(run: Path, command: Command) -> None:
    _unfinished(run)
    last, previous = (run / "checkpoints" / f"{name}.ckpt" for name in ("last", "last.previous"))
    hostile_files.FILES["code among the weights"](previous, last, trace := run.parent / "trace")
    last.write_bytes(last.read_bytes()[:-100])
    before = {path: path.read_bytes() for path in (last, previous)}
    finished = command("resume=run")
    assert not trace.exists()
    assert finished.code == 4
    assert 2 <= len(finished.err.splitlines()) <= 5
    assert "last.ckpt: truncated, damaged" in finished.err
    assert "last.previous.ckpt: holds Python objects" in finished.err
    assert {path: path.read_bytes() for path in before} == before
    assert finished.err.splitlines()[0] in (run / "train.log").read_text()


def test_the_checkpoint_of_another_run_is_refused(run: Path, command: Command, tmp_path: Path) -> None:
    assert command(*DIGITS, "model.hidden=16", "trainer.max_epochs=1", "hydra.run.dir=other").code == 0
    _unfinished(run)
    for name in ("last", "last.previous"):
        shutil.copy(tmp_path / "other" / "checkpoints" / "last.ckpt", run / "checkpoints" / f"{name}.ckpt")
    finished = command("resume=run")
    assert finished.code == 4
    assert "last.ckpt: of another run: hidden (16,) instead of (64, 64)" in finished.err


def test_damaged_files_beside_the_checkpoints_are_not_needed(run: Path, whole: Path, command: Command) -> None:
    (run / "result.json").write_text('{"epochs": 1, "max_epochs": "x", "metrics": {"test/acc": 0.5}}')
    (run / "status.json").write_text("{}")
    (run / ".hydra" / "overrides.yaml").write_text("- ${foo}")
    finished = command("resume=run")
    assert finished.code == 0, finished.err
    _is_the_whole(run, whole, but=["command/text_summary"])


def test_a_change_that_is_refused_is_not_kept(run: Path, command: Command) -> None:
    _unfinished(run)
    before = (run / ".hydra" / "config.yaml").read_text()
    assert command("resume=run", "data.root=/nowhere", "trainer.accelerator=tpu").code == 2
    assert command("resume=run", "trainer.devices=2").code == 2
    assert (run / ".hydra" / "config.yaml").read_text() == before


def test_of_two_processes_in_one_folder_one_is_refused(program: Program, tmp_path: Path) -> None:
    command = ("data=digits", "trainer.max_epochs=30", "hydra.run.dir=run")
    processes = [program.start(*command, f"seed={seed}") for seed in range(2)]
    codes = []
    for process in processes:
        with process:
            process.communicate()
        codes.append(process.returncode)
    assert sorted(codes) == [0, 2]
    seed = codes.index(0)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["seed"] == seed
    assert yaml.safe_load((tmp_path / "run" / ".hydra" / "config.yaml").read_text())["seed"] == seed


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda folder: _with_config(
                folder, "\n".join(f"a{k}: ['${{a{k - 1}}}', '${{a{k - 1}}}']" for k in range(1, 30))
            ),
            "config.yaml: missing or damaged",
        ),
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.mkdir(), "contains no run that can be resumed"),
        (lambda folder: folder.write_text(""), "is not the folder of a run"),
        (lambda folder: _with_config(folder, "{"), "config.yaml: missing or damaged"),
        (lambda folder: _with_config(folder, ""), "config.yaml: damaged"),
        (lambda folder: _with_config(folder, "seed: x"), "config.yaml: damaged, or of another version"),
        (lambda folder: _with_config(folder, "seed: !!python/object/apply:os.mkdir [trace]"), "missing or damaged"),
        (lambda folder: _with_config(folder, "a: ${b}"), "config.yaml: damaged"),
    ],
)
def test_a_path_without_a_run_is_refused(
    command: Command, tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / "run")
    finished = command("resume=run")
    assert finished.code == 4
    assert says in finished.err
    assert len(finished.err.splitlines()) <= 5
    assert "Traceback" not in finished.err
    assert not (tmp_path / "trace").exists()


def _with_config(folder: Path, text: str) -> None:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(text)


def test_a_checkpoint_that_cannot_be_written_ends_with_4(program: Program, tmp_path: Path) -> None:
    """Limit files to 100 kB: the first checkpoint has 130."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    finished = program.run(*DIGITS, "hydra.run.dir=run", before=limit)
    assert finished.code == 4, finished.err
    assert "checkpoints/best.ckpt: cannot be written: File too large." in finished.err.replace(str(tmp_path) + "/", "")
    assert len(finished.err.splitlines()) <= 5
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert _status(tmp_path / "run") == "failed"


def test_a_log_that_cannot_be_written_does_not_stop_a_run(program: Program, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_status(tmp_path / "run", "failed")
    (tmp_path / "run" / "train.log").symlink_to("/dev/full")
    finished = program.run("data=digits", "trainer.max_epochs=2", "hydra.run.dir=run")
    assert finished.code == 0
    (line,) = finished.err.splitlines()
    assert "train.log: cannot be written: No space left on device. Training goes on without logs." in line
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["resume=" + "x" * 300], 4, "File name too long"),
        (["hydra.run.dir=" + "x" * 300], 4, "File name too long"),
        (["hydra.run.dir='${nope}'"], 2, "hydra.run.dir: Interpolation key 'nope' not found"),
        (["resume=run", "hydra.run.dir=other"], 2, "omit hydra.run.dir"),
        (["--cfg", "job", "resume=run"], 2, "resume: the configuration of a run is in its folder"),
        (["-m", "resume=run"], 2, "omit -m"),
        (["resume="], 4, "contains no run that can be resumed"),
        (["resume=run", "sweep_name=x"], 2, "sweep_name: this is a single run"),
        (["resume=run", "model.dropout=7"], 2, "model.dropout: must be less than 1, got 7"),
        (["resume=run", "seeed=7"], 2, "seeed: unknown key; did you mean seed?"),
    ],
)
def test_what_cannot_be_resumed_so_is_refused(
    run: Path, command: Command, arguments: list[str], code: int, says: str
) -> None:
    finished = command(*arguments)
    assert (finished.code, finished.out) == (code, "")
    assert says in finished.err
    assert len(finished.err.splitlines()) <= 5
    assert "Traceback" not in finished.err


def test_a_resumed_run_may_work_in_its_folder(
    run: Path, whole: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _unfinished(run)
    finished = command("resume=run", "hydra.job.chdir=true", "+hydra.job.env_set.SET=1")
    assert finished.code == 0, finished.err
    assert Path.cwd() == run
    monkeypatch.chdir(tmp_path)
    _is_the_whole(run, whole)
