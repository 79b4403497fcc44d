"""train.py, as a user starts it."""

import fcntl
import json
import os
import signal
import termios
from pathlib import Path

import pytest
import torchvision.datasets
from conftest import Command, Finished, Program, Run, files_of, imported
from PIL import Image

from mlplab.data import datasets
from mlplab.runs import checkpoint_file
from mlplab.runs.result import read_status


def test_digits_are_learned(digits_run: Run) -> None:
    assert digits_run.result["status"] == "completed"
    assert digits_run.result["metrics"]["test/acc"] > 0.94
    assert digits_run.result["epochs"] == 20


def test_the_run_folder_has_exactly_these_files(digits_run: Run) -> None:
    files = set(files_of(digits_run.folder))
    (events,) = (file for file in files if file.startswith("events.out.tfevents"))
    assert files == {
        ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "train.log", events,
        "checkpoints/best.ckpt", "checkpoints/last.ckpt", "result.json", "status.json", ".lock",
        "curves.png", "confusion.png", "mistakes.png",
    }  # fmt: skip


def test_what_is_printed(digits_run: Run) -> None:
    printed, result = digits_run.printed, digits_run.result
    for words in ("1,237 images to train, 200 to validate, 8x8 pixels", "8,320", "1,290", "9,610", "(B, 64)"):
        assert words in printed
    assert sum(line.startswith("epoch ") for line in printed.splitlines()) == 20
    assert f"test accuracy {result['metrics']['test/acc']:.2%}" in printed
    assert f"{result['images_per_s']:,.0f} images/s" in printed
    assert f"run folder {Path('outputs', 'digits', digits_run.folder.name)}" in printed
    assert "\r" not in printed  # no bar outside a terminal
    assert "Warning" not in printed
    log = (digits_run.folder / "train.log").read_text()
    first = f"digits, 64-128-10, Adam, batch 32, 20 epochs; run folder outputs/digits/{digits_run.folder.name}"
    assert printed.splitlines()[0] == first
    assert log.splitlines()[0].endswith(first)
    assert f"test accuracy {result['metrics']['test/acc']:.2%}" in log


def test_divergence_ends_with_5(command: Command, tmp_path: Path) -> None:
    finished = command("data=digits", "optimizer=sgd", "optimizer.lr=1e30", "trainer.max_epochs=2")
    assert finished.code == 5
    assert "optimizer.lr=1e+30" in finished.err
    assert len(finished.err.splitlines()) <= 5
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.parametrize(
    ("words", "said"), [((), ""), (("-m", "seed=1,2", "sweep_name=two"), "outputs/sweeps/two: 2 jobs, 2 to start\n")]
)
def test_missing_data_end_with_3(command: Command, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """The message has the URLs of the data, and no files are left."""
    finished = command(*words, f"data.root={tmp_path / 'nothing'}")
    assert (finished.code, finished.out) == (3, said)
    assert len(finished.err.splitlines()) <= 5
    for part in (str(tmp_path / "nothing" / "MNIST" / "raw"), *torchvision.datasets.MNIST.mirrors, "data.root="):
        assert part in finished.err
    assert list(tmp_path.rglob("*")) == []


def test_closed_streams_do_no_harm(program: Program, tmp_path: Path) -> None:
    """`python train.py ... >&- 2>&-`: files opened later must not get the numbers of these streams."""
    closed = lambda: (os.close(0), os.close(1), os.close(2))  # noqa: E731
    finished = program.run("data=digits", "trainer.max_epochs=1", "hydra.run.dir=run", before=closed)
    assert finished == Finished(0, "", "")
    assert "test accuracy" in (tmp_path / "run" / "train.log").read_text()
    assert program.run("data=digits", "seed=-1", before=closed) == Finished(2, "", "")


def test_a_terminal_that_is_closed_ends_a_run_saved(program: Program, tmp_path: Path) -> None:
    """Writing to the closed terminal fails."""
    leader, terminal = os.openpty()

    def in_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as it is in a terminal, whatever the tests were started by
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(terminal, number)

    with program.start("data=digits", "trainer.max_epochs=100000", "hydra.run.dir=run", before=in_terminal) as process:
        os.close(terminal)
        printed = b""
        while b"epoch      2/100000" not in printed:
            printed += os.read(leader, 4096)
        os.close(leader)
        assert process.wait() == 128 + signal.SIGHUP
    status = read_status(tmp_path / "run")
    assert (status.status, (status.reason or "").partition(" after")[0]) == ("interrupted", "The terminal was closed")
    assert len(checkpoint_file.read(tmp_path / "run" / "checkpoints" / "last.ckpt")["history"]) >= 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_without_a_result(
    program: Program, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with program.start("data=digits", "trainer.max_epochs=100000") as process:
        assert any(line.startswith("epoch ") for line in process.stdout)
        process.send_signal(number)
        out, err = process.communicate()  # `make torture` measures how long it takes
    assert process.returncode == code
    said, where, way_on = err.splitlines()
    assert said == "Stopping ..."
    (run,) = tmp_path.glob("outputs/digits/*")
    epochs = 1 + out.count("epoch ")  # the first one was read before
    words = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
    assert where == f"{words[number]} after {epochs:,} of 100,000 epochs."
    assert way_on == f"Resume with: python train.py resume=outputs/digits/{run.name}"
    assert not (run / "result.json").exists()
    last = checkpoint_file.read(run / "checkpoints" / "last.ckpt")
    assert [row["epoch"] for row in last["history"]] == list(range(1, epochs + 1))


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("model.hiden=3", ["model.hiden: unknown key; did you mean model.hidden?"]),
        ("+typo=1", ["typo: unknown key"]),
        (
            "data=mnits",
            ["data=mnits: unknown, must be one of csv, digits, emnist, fashion, folder, idx, kmnist, mnist, qmnist"],
        ),
        ("experiment=fashion_12", ["experiment=fashion_12: unknown, must be one of fashion_100, fashion_128"]),
        ("data=null", ["data=null"]),
        (
            "model.hidden=512,256 seeed=1",
            [
                "model.hidden=512,256: has several values: add -m for a sweep over them, or write model.hidden=[",
                "seeed: unknown key; did you mean seed?",
            ],
        ),
        (
            "optimizer.lr=interval(1e-4,1e-1)",
            ["optimizer.lr=interval(1e-4,1e-1): ranges are for a search: add search="],
        ),
        ("-m optimizer.lr=interval(1e-4,1e-1)", ["optimizer.lr=interval(1e-4,1e-1): ranges are for a search"]),
        ("-m sweep=tricks,hidden_by_optimizer", ["sweep=tricks,hidden_by_optimizer: choose only one per command"]),
        ("sweep=tricks seed=1 sweep=hidden_by_optimizer", ["sweep=tricks sweep=hidden_by_optimizer: choose only one"]),
        ("-m sweep_name=a,b", ["sweep_name=a,b: choose only one"]),
        ("-m optimizer=glob(x*)", ["A glob matches no choice"]),
        ("--cfg job --info all", ["--cfg and --info: show one run"]),
        ("--resolve", ["--resolve: needs --cfg."]),
        (
            "--batch-size 3",
            ["--batch-size: a key is given without dashes, as key=value; did you mean data.batch_size?"],
        ),
        ("-lr=0.1", ["-lr=0.1: a key is given without dashes, as key=value; did you mean optimizer.lr?"]),
        ("--cfg", ["argument --cfg/-c: expected one argument. All options: python train.py --hydra-help"]),
        ("--package data", ["--package: needs --cfg"]),
        ("--experimental-rerun config.pickle", ["--experimental-rerun: not supported. Use resume="]),
        ("--info seed=1", ["argument --info/-i: invalid choice: 'seed=1'"]),
        (
            "optimizer=adamw",
            ["optimizer=adamw: unknown, must be one of adam, rmsprop, sgd; did you mean optimizer.name=A"],
        ),
        ("model=3", ["model: has keys: model.hidden, model.dropout, model.activation, model.batch_norm"]),
        ("model.hidden=[", ["model.hidden=[: "]),
        ("seed", ["seed: not of the form key=value"]),
        (
            "model.hidden=0 optimizer.lr=-1 trainer.foo=1 seeed=3 data=mnits",
            ["data=mnits: ", "seeed: ", "model.hidden: ", "optimizer.lr: ", "trainer.foo: "],
        ),
        ("-m seed=1,x optimizer.lr=1,nan", ["optimizer.lr: ", "seed: "]),
        ("data=digits experiment=null", ["experiment=null: unknown, must be one of"]),
        (
            "-m data=digits,mnst model.hiden=4,0",
            [
                "data=mnst: unknown, must be one of csv, digits, emnist, fashion, folder, idx, kmnist, mnist, qmnist",
                "model.hiden: unknown key; did you mean model.hidden?",
            ],
        ),
        ("-m seed", ["seed: not of the form key=value"]),
        ("--cfg job seeed=1", ["seeed: unknown key; did you mean seed?"]),
        ("--config-dir x seed=1", ["--config-dir, --config-name, --config-path: not supported."]),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(
    command: Command, tmp_path: Path, arguments: str, lines: list[str]
) -> None:
    finished = command(*arguments.split())
    found = finished.err.splitlines()
    assert finished.code == 2, finished.err
    assert "Traceback" not in finished.err
    assert len(found) == len(lines), finished.err
    for line in lines:
        assert any(words.startswith(line) for words in found), finished.err
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "left_over",
    [
        {"RANK": "", "LOCAL_RANK": "none"},
        {"SLURM_JOB_NAME": "python", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"},
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x", "JSM_NAMESPACE_RANK": "1"},
    ],
)
def test_ranks_left_in_the_environment_are_ignored(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left_over: dict[str, str]
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\n")  # of a cluster, which Lightning would recommend
    (tmp_path / "bin" / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name, value in left_over.items():
        monkeypatch.setenv(name, value)
    finished = command("data=digits", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert (finished.code, finished.err) == (0, "")
    assert "epoch 1/1" in finished.out
    run = tmp_path / "run"
    assert {"result.json", "checkpoints", "train.log", "curves.png"} <= {path.name for path in run.iterdir()}
    (events,) = run.glob("events.out.tfevents.*")
    assert b"by_epoch/" in events.read_bytes()
    assert command("seeed=3").err == "seeed: unknown key; did you mean seed?\n"


def test_what_a_console_cannot_show_is_replaced(program: Program, tmp_path: Path, digits_run: Run) -> None:
    program.environment |= {"PYTHONIOENCODING": "ascii"}
    finished = program.run("data=digits", "trainer.max_epochs=1", "hydra.run.dir='\u03c0'")
    assert (finished.code, finished.err) == (0, "")
    assert "| linear1 | (B, 128)" in finished.out
    assert "run folder ?" in finished.out
    assert "run folder \u03c0" in (tmp_path / "\u03c0" / "train.log").read_text(encoding="utf-8")
    image = tmp_path / "\u03c0.png"
    Image.fromarray(datasets.load("digits", tmp_path).test_images[0, 0].numpy()).save(image)
    finished = program.run(digits_run.folder, image, "--json", script="scripts/predict.py")
    assert json.loads(finished.out)[0]["path"] == str(image)


@pytest.mark.parametrize("kind", [[], ["-m", "seed=0,1", "sweep_name=two"]])
def test_a_run_goes_on_when_nobody_reads_what_it_prints(program: Program, tmp_path: Path, kind: list[str]) -> None:
    with program.start(*kind, "data=digits", "trainer.max_epochs=2", "show=none") as process:
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait() == 0
    assert "Error" not in err
    assert "Traceback" not in err
    assert len(list(tmp_path.rglob("result.json"))) == max(1, len(kind) - 1)


def test_a_traceback_can_be_asked_for(program: Program) -> None:
    program.environment["HYDRA_FULL_ERROR"] = "1"
    finished = program.run("seeed=3")
    assert finished.code == 2
    assert "Traceback" in finished.err
    assert "seeed: unknown key" in finished.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--help",), 0, "python train.py model.hidden=512 data=fashion"),
        (("seeed=3", "trainer.strategy=ddp"), 2, "trainer.strategy: one run trains on one device"),
        (("data.root=nothing",), 3, "nothing/MNIST/raw"),
        (("-m", "seed=1,2", "data.root=nothing"), 3, "nothing/MNIST/raw"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(
    program: Program, arguments: tuple[str, ...], code: int, says: str
) -> None:
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(*arguments)
    assert finished.code == code
    assert says in finished.out + finished.err
    assert "hydra" in imported(finished.err)
    assert not imported(finished.err) & {"torch", "torchvision", "lightning", "numpy", "sklearn", "tensorboard"}


def test_the_printed_configuration_is_the_whole_one(command: Command) -> None:
    printed = command("optimizer=sgd", "--cfg", "job", "experiment=fashion_100", "optimizer.lr=0.5")
    assert (printed.code, printed.err) == (0, "")
    for line in ("name: fashion", "hidden: 100", "name: SGD", "lr: 0.5", "momentum: 0.9", "seed: 0"):
        assert line in [words.strip() for words in printed.out.splitlines()]


def test_help_has_each_key_with_its_default_range_and_meaning(command: Command) -> None:
    printed = " ".join(command("--help", "optimizer=sgd", "seed=3").out.split())
    for line in (
        "seed 3 integer from 0 to below 4294967296: ",
        "data.val_size 5000 integer or number: training images",
        "data.normalize standard standard | unit | symmetric: ",
        "model.hidden 128 integer from 1 to 1048576 or a list: width of each hidden layer",
        "model.batch_norm false true | false: ",
        "optimizer.lr 0.01 number above 0: learning rate",
        "optimizer.momentum 0.9 number from 0 or null: momentum",
        "optimizer.weight_decay 0 number from 0 or null: ",
        "trainer.limit_train_batches 1.0 integer from 1 or number above 0 to 1: ",
        "optimizer: adam, rmsprop, sgd",
    ):
        assert line in printed


@pytest.mark.parametrize(
    "arguments",
    ["seed=-1 -m data=digits", "-m seed=-1 data=digits", "data=digits --multirun seed=-1", "seed=-1 --run data=digits"],
)
def test_options_may_stand_between_keys(command: Command, arguments: str) -> None:
    finished = command(*arguments.split())
    assert finished.code == 2
    assert finished.err.startswith("seed: must be greater than or equal to 0, got -1")


def test_hydra_prints_what_it_knows(command: Command, tmp_path: Path) -> None:
    assert "Config search path" in command("--info", "searchpath").out
    assert command("--version").out.startswith("Hydra ")
    assert "== Flags ==" in command("--hydra-help").out
    assert command("--cfg", "job", "-p", "optimizer").out.startswith("# @package optimizer\nname: Adam\n")
    assert list(tmp_path.rglob("*")) == []
