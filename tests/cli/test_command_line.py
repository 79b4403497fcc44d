"""train.py and the scripts, started as a user starts them."""

import fcntl
import json
import os
import runpy
import shutil
import signal
import sys
import termios
from pathlib import Path

import pytest
import torch
import torchvision.datasets
from conftest import PROJECT, Command, Finished, Program, Run, files_of
from PIL import Image

from mlplab.data import datasets
from mlplab.runs import checkpoint_file
from mlplab.runs.result import read_status
from mlplab.training import restore
from mlplab.training.run import Result


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
    assert "\r" not in printed  # no bar where nobody looks
    assert "Warning" not in printed
    log = (digits_run.folder / "train.log").read_text()
    assert f"test accuracy {result['metrics']['test/acc']:.2%}" in log


@pytest.mark.parametrize("word", ["its folder", "last"])
def test_evaluate_says_what_the_run_said(digits_run: Run, program: Program, word: str) -> None:
    program.folder = digits_run.folder.parents[2]
    finished = program.run("last" if word == "last" else digits_run.folder, "--json", script="scripts/evaluate.py")
    assert finished.code == 0, finished.err
    found, metrics = json.loads(finished.out), digits_run.result["metrics"]
    assert found["metrics"]["test/acc"] == metrics["test/acc"]
    assert found["metrics"]["test/loss"] == pytest.approx(metrics["test/loss"], rel=1e-5)
    assert sum(figures["images"] for figures in found["classes"].values()) == 360
    right = sum(row[k] for k, row in enumerate(found["confusion"]))
    assert right / 360 == metrics["test/acc"]


def test_predict_gives_one_object_per_image(digits_run: Run, program: Program, tmp_path: Path) -> None:
    dataset = datasets.load("digits", tmp_path)
    paths = [tmp_path / f"{row}.png" for row in range(10)]
    for path, image in zip(paths, dataset.test_images, strict=False):
        Image.fromarray(image[0].numpy()).save(path)
    finished = program.run(digits_run.folder, *paths, "--json", "--background=dark", script="scripts/predict.py")
    assert finished.code == 0, finished.err
    answers = json.loads(finished.out)

    classifier, datamodule = restore.load(digits_run.folder)
    expected = classifier.predict_step(datamodule.normalized(dataset.test_images[:10]))
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    for answer, row in zip(answers, expected, strict=True):
        assert set(answer) == {"path", "class", "probabilities"}
        assert list(answer["probabilities"]) == list("0123456789")
        probabilities = torch.tensor(list(answer["probabilities"].values()))
        assert probabilities.sum().item() == pytest.approx(1)
        torch.testing.assert_close(probabilities, row)
        assert answer["class"] == max(answer["probabilities"], key=answer["probabilities"].get)
    right = [int(answer["class"]) == label for answer, label in zip(answers, dataset.test_labels, strict=False)]
    assert sum(right) >= 8


def test_divergence_ends_with_5(program: Program, tmp_path: Path) -> None:
    finished = program.run("data=digits", "optimizer=sgd", "optimizer.lr=1e30", "trainer.max_epochs=2")
    assert finished.code == 5
    assert "optimizer.lr=1e+30" in finished.err
    assert len(finished.err.splitlines()) <= 5
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2")])
def test_missing_data_end_with_3(program: Program, tmp_path: Path, words: tuple[str, ...]) -> None:
    """At once, which is without torch, with the addresses that have them, and nothing is left behind."""
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(*words, f"data.root={tmp_path / 'nothing'}")
    assert finished.code == 3
    said = [line for line in finished.err.splitlines() if not line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in finished.err.splitlines() if "|" in line}
    assert not imported & {"torch", "lightning", "numpy"}
    assert len(said) <= 5
    for words_ in (str(tmp_path / "nothing" / "MNIST" / "raw"), *torchvision.datasets.MNIST.mirrors, "data.root="):
        assert words_ in "\n".join(said)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("script", "arguments", "code", "says"),
    [
        ("evaluate", ["run", "--data-root=nothing"], 3, "nothing/MNIST/raw: train-images-idx3-ubyte, "),
        ("evaluate", ["run/checkpoints/last.ckpt", "--data-root=nothing"], 3, "nothing/MNIST/raw: "),
        ("predict", ["run", "--test", "0", "--data-root=nothing"], 3, "nothing/MNIST/raw: "),
        ("evaluate", ["nowhere"], 4, "nowhere: does not exist."),
        ("predict", ["nowhere", "a.png"], 4, "nowhere: does not exist."),
        ("show", ["data.root=nothing"], 3, "nothing/MNIST/raw: "),
    ],
)
def test_scripts_say_at_once_what_is_missing(
    program: Program, tiny_run: Result, tmp_path: Path, script: str, arguments: list[str], code: int, says: str
) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(*arguments, script=f"scripts/{script}.py")
    said = [line for line in finished.err.splitlines() if not line.startswith("import time:")]
    assert (finished.code, finished.out) == (code, "")
    assert said[0].startswith(says)
    assert len(said) <= 5
    imported = {line.rpartition("|")[2].strip() for line in finished.err.splitlines() if "|" in line}
    assert not imported & {"torch", "lightning", "numpy"}
    assert not (tmp_path / "nothing").exists()


def test_what_is_printed_nowhere_does_no_harm(program: Program, tmp_path: Path) -> None:
    """`python train.py ... >&- 2>&-`: a file that is opened then must not get the numbers of these streams."""
    closed = lambda: (os.close(0), os.close(1), os.close(2))  # noqa: E731
    finished = program.run("data=digits", "trainer.max_epochs=1", "hydra.run.dir=run", before=closed)
    assert finished == Finished(0, "", "")
    assert "test accuracy" in (tmp_path / "run" / "train.log").read_text()
    refused = program.run("data=digits", "seed=-1", before=closed)
    assert refused == Finished(2, "", "")


def test_a_terminal_that_is_closed_ends_a_run_saved(program: Program, tmp_path: Path) -> None:
    """Writing to it fails from then on."""
    leader, terminal = os.openpty()

    def in_terminal() -> None:
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
    assert status is not None
    assert (status.status, (status.reason or "").partition(" after")[0]) == ("interrupted", "The terminal was closed")
    assert len(checkpoint_file.read(tmp_path / "run" / "checkpoints" / "last.ckpt")["history"]) >= 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_without_a_result(
    program: Program, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with program.start("data=digits", "trainer.max_epochs=100000") as process:
        assert process.stdout is not None
        assert any(line.startswith("epoch ") for line in process.stdout)
        process.send_signal(number)
        out, err = process.communicate()  # `make torture` measures how long it takes
    assert process.returncode == code
    said, where, way_on = err.splitlines()
    assert said == "Stopping ..."
    (run,) = tmp_path.glob("outputs/digits/*")
    epochs = 1 + out.count("epoch ")  # the first one was read before
    words = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated", signal.SIGHUP: "The terminal was closed"}
    assert where == f"{words[number]} after {epochs:,} of 100,000 epochs."
    assert way_on == f"Resume with: python train.py resume=outputs/digits/{run.name}"
    assert not (run / "result.json").exists()
    last = checkpoint_file.read(run / "checkpoints" / "last.ckpt")
    assert [row["epoch"] for row in last["history"]] == list(range(1, epochs + 1))


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("seeed=3", ["seeed: unknown key; did you mean seed?"]),
        ("model.hiden=3", ["model.hiden: unknown key; did you mean model.hidden?"]),
        ("modle.hidden=3", ["modle.hidden: unknown key; did you mean model.hidden?"]),
        ("+typo=1", ["typo: unknown key"]),
        ("data=mnits", ["data=mnits: unknown, must be one of digits, fashion, mnist; did you mean mnist?"]),
        ("optimizer=adm", ["optimizer=adm: unknown, must be one of adam, rmsprop, sgd; did you mean adam?"]),
        ("experiment=fashion_12", ["experiment=fashion_12: unknown, must be one of fashion_100, fashion_128"]),
        ("model=3", ["model=3"]),
        ("data=null", ["data=null"]),
        ("model.hidden=abc", ["model.hidden: must be a valid integer, got 'abc'"]),
        ("model.hidden=0", ["model.hidden: must be greater than or equal to 1, got 0"]),
        ("model.hidden=[512,-1]", ["model.hidden: must be greater than or equal to 1, got -1"]),
        ("model.dropout=1.5", ["model.dropout: must be less than 1, got 1.5"]),
        ("model.activation=Relu", ["model.activation: must be one of CELU"]),
        ("optimizer.lr=-1", ["optimizer.lr: must be greater than 0, got -1"]),
        ("optimizer.lr=nan", ["optimizer.lr: must be a finite number, got nan"]),
        ("optimizer.name=Adamm", ["optimizer.name: must be one of ASGD"]),
        ("optimizer.name=[Adam]", ["optimizer.name: must be a valid string"]),
        ("optimizer.momentum=0.9", ["optimizer.momentum: Adam takes lr, betas"]),
        ("optimizer=sgd optimizer.betas=[0.9,0.99]", ["optimizer.betas: SGD takes lr, momentum"]),
        ("scheduler.name=StepLR", ["scheduler.step_size: must be given, StepLR needs it"]),
        ("trainer.max_epochs=0", ["trainer.max_epochs: must be greater than or equal to 1, got 0"]),
        ("trainer.max_epoch=3", ["trainer.max_epoch: not a flag of lightning.Trainer"]),
        ("data.batch_size=0", ["data.batch_size: must be greater than or equal to 1, got 0"]),
        ("data.val_size=60000", ["data.val_size: must be at most 59999"]),
        ("data=digits data.val_size=1437", ["data.val_size: must be at most 1436"]),
        ("seed=1,2", ["seed=1,2: several values: add -m for a sweep over them"]),
        (
            "model.hidden=512,256 seeed=1",
            [
                "model.hidden=512,256: several values: add -m for a sweep over them; or write model.hidden=[512,256]",
                "seeed: unknown key; did you mean seed?",
            ],
        ),
        ("optimizer.lr=interval(1e-4,1e-1)", ["optimizer.lr=interval(1e-4,1e-1): an interval has no end of values"]),
        ("-m optimizer.lr=interval(1e-4,1e-1)", ["optimizer.lr=interval(1e-4,1e-1): an interval has no end of values"]),
        ("sweep=tricks,hidden_by_optimizer", ["sweep=tricks,hidden_by_optimizer: one at a time: give a command for"]),
        ("-m sweep=tricks,hidden_by_optimizer", ["sweep=tricks,hidden_by_optimizer: one at a time: give a command"]),
        ("sweep=tricks seed=1 sweep=hidden_by_optimizer", ["sweep=tricks sweep=hidden_by_optimizer: one at a time"]),
        ("-m sweep_name=a,b", ["sweep_name=a,b: one at a time"]),
        ("-m optimizer=glob(x*)", ["A glob among these fits no choice"]),
        ("-m --cfg job", ["--cfg and --info are of one run, and print it: leave -m, or the other, out."]),
        ("--cfg job --info all", ["--cfg and --info are of one run"]),
        ("--resolve", ["The --resolve flag can only be used"]),
        ("--epochs=3", ["--epochs=3: a key is given without dashes, as key=value; did you mean trainer.max_epochs?"]),
        (
            "--batch-size 3",
            ["--batch-size: a key is given without dashes, as key=value; did you mean data.batch_size?"],
        ),
        ("-lr=0.1", ["-lr=0.1: a key is given without dashes, as key=value; did you mean optimizer.lr?"]),
        ("seed=1 -x", ["-x: a key is given without dashes, as key=value"]),
        ("--cfg", ["argument --cfg/-c: expected one argument. All options: python train.py --hydra-help"]),
        ("--package data", ["--package: says what of a configuration --cfg prints"]),
        ("--experimental-rerun config.pickle", ["--experimental-rerun: not supported. A run goes on with resume="]),
        ("--info seed=1", ["argument --info/-i: invalid choice: 'seed=1'"]),
        ("epochs=3", ["epochs: unknown key; did you mean trainer.max_epochs?"]),
        ("data=emnist", ["data=emnist: unknown, must be one of digits, fashion, mnist"]),
        (
            "optimizer=adamw",
            ["optimizer=adamw: unknown, must be one of adam, rmsprop, sgd; did you mean optimizer.name=A"],
        ),
        (
            "early_stopping=3",
            ["early_stopping: has keys of its own, early_stopping.patience, early_stopping.min_delta"],
        ),
        ("model.hidden=[", ["model.hidden=[: "]),
        ("seed", ["seed: not of the form key=value"]),
        (
            "model.hidden=0 optimizer.lr=-1 trainer.foo=1 seeed=3 data=mnits",
            ["data=mnits: ", "seeed: ", "model.hidden: ", "optimizer.lr: ", "trainer.foo: "],
        ),
        ("seeed=1 model.hidden=0 modle=2", ["seeed: ", "modle: ", "model.hidden: "]),
        ("-m model.hidden=8,0", ["model.hidden: must be greater than or equal to 1, got 0"]),
        ("-m seed=1,x optimizer.lr=1,nan", ["optimizer.lr: ", "seed: "]),
        ("-m data=digits data.val_size=1,1437", ["data.val_size: must be at most 1436"]),
        ("-m data=digits trainer.profiler=simple,foo", ["trainer: Lightning refuses"]),
        ("trainer.gradient_clip_algorithm=foo", ["trainer.gradient_clip_algorithm: must be 'norm' or 'value'"]),
        ("-m data=digits scheduler=onecycle scheduler.pct_start=0.3,7.0", ["optimizer, scheduler: torch refuses"]),
        ("data=digits experiment=null", ["experiment=null: unknown, must be one of"]),
        (
            "-m data=digits,mnst model.hiden=4,0",
            [
                "data=mnst: unknown, must be one of digits, fashion, mnist",
                "model.hiden: unknown key; did you mean model.hidden?",
            ],
        ),
        ("-m seeed=1,2", ["seeed: unknown key; did you mean seed?"]),
        ("-m optimizer=adam,sgdd", ["optimizer=sgdd: unknown, must be one of adam, rmsprop, sgd"]),
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
        {"LOCAL_RANK": "1"},
        {"RANK": "", "LOCAL_RANK": "none"},
        {"SLURM_JOB_NAME": "python", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"},
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x", "JSM_NAMESPACE_RANK": "1"},
    ],
)
def test_a_rank_that_is_left_in_the_environment_is_of_no_matter(
    program: Program, tmp_path: Path, left_over: dict[str, str]
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\n")  # of a cluster, which Lightning would recommend
    (tmp_path / "bin" / "srun").chmod(0o755)
    program.environment |= left_over | {"PATH": f"{tmp_path / 'bin'}:{program.environment['PATH']}"}
    finished = program.run("data=digits", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert (finished.code, finished.err) == (0, "")
    assert "epoch 1/1" in finished.out
    run = tmp_path / "run"
    assert {"result.json", "checkpoints", "train.log", "curves.png"} <= {path.name for path in run.iterdir()}
    (events,) = run.glob("events.out.tfevents.*")
    assert b"by_epoch/" in events.read_bytes()
    assert program.run("seeed=3").err == "seeed: unknown key; did you mean seed?\n"
    sweep = program.run("-m", "data=digits", "trainer.max_epochs=1", "sweep_name=ranks")
    assert (sweep.code, "1 jobs" in sweep.out) == (0, True), sweep.err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_console_cannot_show_is_replaced(
    program: Program, tmp_path: Path, digits_run: Run, encoding: str
) -> None:
    program.environment |= {"PYTHONIOENCODING": encoding}
    finished = program.run("data=digits", "trainer.max_epochs=1", "hydra.run.dir='\u03c0'")
    assert (finished.code, finished.err) == (0, "")
    assert "| linear1 | (B, 128)" in finished.out
    assert "run folder ?" in finished.out
    assert "run folder \u03c0" in (tmp_path / "\u03c0" / "train.log").read_text(encoding="utf-8")
    image = tmp_path / "\u03c0.png"
    Image.fromarray(datasets.load("digits", tmp_path).test_images[0, 0].numpy()).save(image)
    finished = program.run(digits_run.folder, image, "--json", script="scripts/predict.py")
    assert json.loads(finished.out)[0]["path"] == str(image)
    report = program.run(digits_run.folder.parent, script="scripts/report.py")
    assert (report.code, report.err) == (0, "")


@pytest.mark.parametrize("kind", [[], ["-m", "seed=0,1", "sweep_name=two"]])
def test_a_run_goes_on_when_nobody_reads_what_it_prints(program: Program, tmp_path: Path, kind: list[str]) -> None:
    with program.start(*kind, "data=digits", "trainer.max_epochs=2") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait() == 0
    assert "Error" not in err
    assert "Traceback" not in err
    assert len(list(tmp_path.rglob("result.json"))) == max(1, len(kind) - 1)


def test_a_folder_is_not_used_twice(digits_run: Run, program: Program, tmp_path: Path) -> None:
    shutil.copytree(digits_run.folder, tmp_path / "run")
    before = files_of(tmp_path)
    finished = program.run("data=digits", "hydra.run.dir=run")
    assert finished.code == 2
    first, *differences, last = finished.err.splitlines()
    assert first == "run: holds another run, which cannot go on so:"
    assert differences == ["trainer.max_epochs: the run has 20, the command 5 (only upwards)"]
    assert last == "Choose another hydra.run.dir, or leave it out."
    assert files_of(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_named(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finished = program.run("data=digits", "hydra.run.dir=file/run")
    assert finished.code != 0
    assert finished.err.startswith("file/run: cannot be made or written to: ")
    assert "Traceback" not in finished.err


def test_a_traceback_can_be_asked_for(program: Program) -> None:
    program.environment["HYDRA_FULL_ERROR"] = "1"
    finished = program.run("seeed=3")
    assert finished.code == 2
    assert "Traceback" in finished.err
    assert "seeed: unknown key" in finished.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--cfg", "job"), 0, "max_epochs: 5"),
        (("--help",), 0, "python train.py model.hidden=512 data=fashion"),
        (("seeed=3",), 2, "unknown key"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(
    program: Program, arguments: tuple[str, ...], code: int, says: str
) -> None:
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    finished = program.run(*arguments)
    assert finished.code == code
    assert says in finished.out + finished.err
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in finished.err.splitlines() if "|" in line}
    assert "hydra" in imported
    assert not imported & {"torch", "torchvision", "lightning", "numpy", "sklearn", "tensorboard"}


def test_the_printed_configuration_is_the_whole_one(program: Program) -> None:
    finished = program.run("--cfg", "job", "optimizer=sgd", "experiment=fashion_100", "optimizer.lr=0.5")
    for line in ("name: fashion", "hidden: 100", "name: SGD", "lr: 0.5", "momentum: 0.9", "seed: 0"):
        assert line in [words.strip() for words in finished.out.splitlines()]


def test_shell_completion_knows_the_keys(program: Program) -> None:
    program.environment |= {"COMP_LINE": "python train.py model.hid", "COMP_POINT": "25"}
    finished = program.run("-sc", "query=bash")
    assert finished.out.split() == ["model.hidden=", "model.hidden_noise="]


def test_help_says_what_each_key_means_and_may_be(command: Command) -> None:
    finished = command("--help", "optimizer=sgd", "optimizer.name=AdamW", "model.hidden=[64,32]")
    assert (finished.code, finished.err) == (0, "")
    lines = [" ".join(line.split()) for line in finished.out.splitlines()]
    for line in (
        "model.hidden=[64,32] width of each hidden layer: 512, [512,512], or [] for softmax regression",
        "data.normalize=standard pixels to mean 0 and variance 1, to 0..1, or to -1..1 (standard | unit | symmetric)",
        "seed=0 of the weights, the order of the images, distortions and dropout (at least 0 and below 4,294,967,296)",
        "optimizer.weight_decay=0.01 L2 penalty, or decoupled decay in AdamW (at least 0)",
        "optimizer.amsgrad=false",
        "trainer.limit_val_batches=1.0 batches of a validation, or a share of them (at least 1, or above 0 and",
        "trainer.gradient_clip_val=null largest norm, or value, of the gradient (at least 0)",
    ):
        assert any(found.startswith(line) for found in lines), line
    assert not any(line.startswith(("optimizer.dampening", "scheduler.gamma")) for line in lines)


@pytest.mark.parametrize(
    "arguments",
    ["seed=-1 -m data=digits", "-m seed=-1 data=digits", "data=digits --multirun seed=-1", "seed=-1 --run data=digits"],
)
def test_options_may_stand_between_keys(command: Command, arguments: str) -> None:
    finished = command(*arguments.split())
    assert finished.code == 2
    assert finished.err.startswith("seed: must be greater than or equal to 0, got -1")
    printed = command("seed=3", "--cfg", "job", "optimizer=sgd")
    assert (printed.code, printed.err) == (0, "")
    assert {"seed: 3", "  name: SGD"} <= set(printed.out.splitlines())


def _script(
    name: str, *arguments: str | Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str]:
    """Run a script in this process, which has imported torch, and return its exit code and what it said of it."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(PROJECT / "scripts" / name), run_name="__main__")
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize("name", ["evaluate.py", "predict.py"])
def test_what_is_no_run_ends_with_4(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, garbage = tmp_path / "empty", tmp_path / "garbage.ckpt"
    empty.mkdir()
    garbage.write_bytes(b"garbage")
    for path in (tmp_path / "nothing", empty, garbage):
        images = ["image.png"] if name == "predict.py" else []
        code, err = _script(name, path, *images, monkeypatch=monkeypatch, capsys=capsys)
        assert code == 4
        assert str(path) in err
        assert len(err.splitlines()) <= 5
        assert "Traceback" not in err


def test_what_is_no_image_ends_with_3(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no image")
    for path in (tmp_path / "text.png", tmp_path / "nothing.png"):
        code, err = _script("predict.py", digits_run.folder, path, monkeypatch=monkeypatch, capsys=capsys)
        assert code == 3
        assert str(path) in err
        assert len(err.splitlines()) == 1


def test_evaluate_prints_a_table(
    digits_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", str(digits_run.folder), "--split=val"])
    runpy.run_path(str(PROJECT / "scripts" / "evaluate.py"), run_name="__main__")
    title, _, _, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith(f"val accuracy {digits_run.result['metrics']['val/acc']:.2%}, loss ")
    assert [row.split()[0] for row in rows] == list("0123456789")
    assert sum(int(row.split()[1]) for row in rows) == 200


def test_predict_prints_the_classes_with_their_probabilities(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "zero.png"
    Image.fromarray(datasets.load("digits", tmp_path).test_images[0, 0].numpy()).save(path)
    monkeypatch.setattr(sys, "argv", ["predict.py", str(digits_run.folder), str(path), "--background=dark", "--top=2"])
    runpy.run_path(str(PROJECT / "scripts" / "predict.py"), run_name="__main__")
    shown, name, probability, _, other = capsys.readouterr().out.split()
    assert (shown, name) == (str(path), "0")
    assert 100 >= float(probability.rstrip("%")) >= float(other.rstrip("%")) >= 0
