"""A run that was stopped anywhere goes on from the last epoch that had ended, and ends as one that was not."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_files
import pytest
import states
import torch
from conftest import Compose
from lightning.pytorch import Callback, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from mlplab.config.schema import Config
from mlplab.errors import CheckpointError, ConfigError
from mlplab.model.classifier import Classifier
from mlplab.monitoring import progress
from mlplab.runs import checkpoint_file, log_file, provenance
from mlplab.runs import folder as run_folder
from mlplab.training import run
from mlplab.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of an epoch's eight batches each, so that there is something between them."""
    monkeypatch.setattr(Classifier, "batches_per_block", lambda *_: 3)


class Killed(BaseException):
    """As a kill would, it saves nothing."""


class Kill(Callback):
    """Kills at the n-th call of a hook."""

    def __init__(self, hook: str, calls: int) -> None:
        self.left = calls
        setattr(self, hook, self.count)

    def count(self, *_: object, **__: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def _killed(config: Config, folder: Path, hook: str, calls: int, resume: bool = False) -> bool:
    """Train, and return whether the run came as far as that."""
    make, kill = run.make_trainer, Kill(hook, calls)

    def with_kill(*arguments: Any) -> Trainer:
        trainer = make(*arguments)
        trainer.callbacks.insert(0, kill)  # type: ignore[attr-defined]
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_trainer", with_kill)
        try:
            train(config, folder, resume)
        except Killed:
            return True
    return False


DROPOUT = ("model.dropout=0.3", "show.scalars=true", "show.text=true", "show.graph=true", "trainer.log_every_n_steps=3")
SCHEDULES = {
    "none": (),
    "onecycle": ("scheduler=onecycle", "optimizer=sgd", "optimizer.lr=0.05"),
    "plateau": ("scheduler.name=ReduceLROnPlateau", "scheduler.patience=0", "scheduler.threshold=0.3"),
    "stopping": ("early_stopping.patience=0", "early_stopping.min_delta=0.25", "trainer.max_epochs=40"),
    "often": ("trainer.val_check_interval=3", "optimizer=rmsprop"),
    "steps": ("trainer.max_steps=29", "trainer.max_epochs=9", "trainer.gradient_clip_val=0.5"),
    "double": ("trainer.precision=64-true", "evaluate_untrained=true"),
    "adafactor": ("optimizer.name=Adafactor", "data.val_size=0"),
    "distorted": ("augment=affine_elastic", "augment.shift=1"),
    "ema": ("averaging=ema", "averaging.decay=0.9", "model.batch_norm=true", "aids.mixup=0.5"),
    "swa": ("averaging=swa", "averaging.start=0.3", "model.batch_norm=true", "aids.max_norm=1"),
    "all that draw": (
        *("model.batch_norm=true", "model.input_dropout=0.1", "model.input_noise=0.1", "model.hidden_noise=0.1"),
        *("model.dropout=0.2", "aids.mixup=0.4", "aids.max_norm=2", "aids.label_smoothing=0.1"),
    ),
    "warmup": ("averaging=ema", "averaging.decay=0.8", "scheduler=cosine", "scheduler.warmup=11"),
    "swa, no validation": ("averaging=swa", "averaging.start=0.5", "data.val_size=0"),
    "one batch at a time": ("trainer.limit_train_batches=8", "model.batch_norm=true", "averaging=swa"),
    "seldom": ("trainer.check_val_every_n_epoch=2", "optimizer=sgd", "trainer.gradient_clip_val=0.5"),
}
FEW_POINTS = [("on_train_batch_end", 5), ("on_train_epoch_end", 2)]
POINTS = [
    ("on_train_epoch_start", 3),
    ("on_train_batch_start", 5),
    ("on_train_batch_end", 3),
    ("on_train_epoch_end", 2),
    ("on_validation_batch_end", 2),
    ("on_validation_end", 2),
    ("on_train_end", 1),
    ("on_test_start", 1),
    ("on_test_end", 1),
]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_run_that_was_killed_ends_as_one_that_was_not(tiny: Compose, tmp_path: Path, kind: str) -> None:
    config = tiny("trainer.max_epochs=4", *DROPOUT, *SCHEDULES[kind])
    points = POINTS if kind in ("none", "often", "steps") else FEW_POINTS
    whole = train(config, tmp_path / "whole")
    for hook, calls in points:
        folder = tmp_path / f"{hook} {calls}"
        assert _killed(config, folder, hook, calls), f"{hook} is not called {calls} times"
        assert not (folder / "result.json").exists()
        train(config, folder, resume=True)
        assert states.problems(folder, whole.folder) == [], hook
    assert len(states.curves(whole.folder)) > 9


def test_a_run_that_is_killed_again_and_again(tiny: Compose, tmp_path: Path) -> None:
    """In each epoch: what goes on is itself killed before the next one ends."""
    config = tiny("trainer.max_epochs=4", *DROPOUT)
    whole = train(config, tmp_path / "whole")
    kills = 0
    while _killed(config, tmp_path / "killed", "on_train_batch_start", 4, resume=kills > 0):
        kills += 1
    assert kills == 3
    assert states.problems(tmp_path / "killed", whole.folder) == []


def test_no_more_than_the_epoch_under_way_is_lost(tiny: Compose, tmp_path: Path) -> None:
    """But in the moment between two epochs in which figures are shown: then it is the one that has just ended."""
    config = tiny("trainer.max_epochs=4")
    for hook, calls, epochs in (
        ("on_train_batch_end", 3, 0),
        ("on_train_epoch_end", 2, 1),
        ("on_train_batch_start", 4, 1),
        ("on_train_batch_end", 9, 2),
        ("on_validation_end", 3, 2),
        ("on_test_start", 1, 4),
    ):
        folder = tmp_path / f"{hook} {calls}"
        assert _killed(config, folder, hook, calls)
        last = run_folder.checkpoint(folder, "last")
        assert (len(checkpoint_file.read(last)["history"]) if last.exists() else 0) == epochs, hook


def test_a_run_that_is_made_longer_is_one_that_was_longer(tiny: Compose, tmp_path: Path) -> None:
    short, long = (tiny(f"trainer.max_epochs={epochs}", *DROPOUT) for epochs in (2, 4))
    train(short, tmp_path / "run")
    train(long, tmp_path / "run", resume=True)
    whole = train(long, tmp_path / "whole")
    assert states.problems(tmp_path / "run", whole.folder) == []
    assert json.loads((tmp_path / "run" / "result.2-epochs.json").read_text())["epochs"] == 2


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_text("text"),
        lambda path: path.unlink(),
        lambda path: hostile_files.FILES["a flipped bit"].make(path, path, path),
        lambda path: hostile_files.FILES["code among the weights"].make(path, path, path.parent / "trace"),
    ],
    ids=["cut", "text", "missing", "a flipped bit", "code"],
)
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    tiny: Compose, tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    config, folder = tiny("trainer.max_epochs=4"), tmp_path / "killed"
    whole = train(config, tmp_path / "whole")
    assert _killed(config, folder, "on_train_epoch_end", 3)
    last = run_folder.checkpoint(folder, "last")
    assert checkpoint_file.read(last)["epoch"] == 1  # the second
    assert checkpoint_file.read(run_folder.previous(last))["epoch"] == 0
    damage(last)
    train(config, folder, resume=True)
    assert f"{last}: " in caplog.text
    assert "Resuming from the one before it" in caplog.text
    assert not (last.parent / "trace").exists()
    assert states.problems(folder, whole.folder) == []
    assert not run_folder.previous(last).exists()


@pytest.fixture(scope="module")
def unfinished(tiny: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in its second epoch, without the checkpoint before the last."""
    folder = tmp_path_factory.mktemp("unfinished")
    assert _killed(tiny(), folder, "on_train_epoch_end", 2)
    run_folder.previous(run_folder.checkpoint(folder, "last")).unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((key, None) for key in ("loops", "run", "optimizer_states", "lr_schedulers", "history", "callbacks")),
        *((key, None) for key in ("figures", "global_step", "images_seen", "pytorch-lightning_version", "state_dict")),
        ("run/seconds", "x"),
        ("loops", {}),
        ("history", "abc"),
        ("optimizer_states/0/param_groups", []),
        ("optimizer_states/0/param_groups/0/lr", "x"),
        ("ImageDataModule/mean", 0.5),
    ],
)
def test_a_checkpoint_that_nothing_can_go_on_from_is_refused(
    tiny: Compose, unfinished: Path, tmp_path: Path, place: str, value: object
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "run"))
    last = run_folder.checkpoint(folder, "last")
    content = checkpoint_file.read(last)
    *sections, name = (int(part) if part.isdigit() else part for part in place.split("/"))
    inner: Any = content
    for section in sections:
        inner = inner[section]
    if value is None:
        del inner[name]
    else:
        inner[name] = value
    torch.save(content, last)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: ") as caught:
        train(tiny(), folder, resume=True)
    assert len(str(caught.value).splitlines()) <= 5
    assert not (folder / "result.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: torch.save({**checkpoint_file.read(path), "state_dict": {}}, path),
    ],
    ids=["missing", "cut", "other weights"],
)
def test_without_its_best_weights_a_run_does_not_go_on(
    tiny: Compose, unfinished: Path, tmp_path: Path, damage: Damage
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "run"))
    damage(run_folder.checkpoint(folder, "best"))
    with pytest.raises(CheckpointError, match=r"best\.ckpt: (.|\n)*The best weights of the run are lost"):
        train(tiny(), folder, resume=True)


@pytest.mark.parametrize("damage", [lambda events: events[:-5], lambda events: events[:200] + b"?" + events[201:]])
def test_curves_that_are_cut_off_or_damaged_are_kept_as_far_as_they_can_be_read(
    tiny: Compose, unfinished: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "run"))
    (events,) = folder.glob("events.out.tfevents.*")
    events.write_bytes(damage(events.read_bytes()))
    result = train(tiny(), folder, resume=True)
    assert result.metrics["test/acc"] > 0
    (events,) = folder.glob("events.out.tfevents.*")
    curve = EventAccumulator(str(folder)).Reload().Scalars("val/loss")
    assert [point.step for point in curve][-1] == 15


def test_where_an_epoch_is_long_one_line_says_what_a_kill_costs(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train(tiny(), tmp_path / "short")
    assert "loses the epoch under way" not in caplog.text
    monkeypatch.setattr(progress, "LONG_EPOCH_S", -1.0)
    train(tiny(), tmp_path / "long")
    said = "a run that is stopped or killed loses the epoch under way, here up to 0 s"
    assert [record.getMessage() for record in caplog.records].count(said) == 1


def test_a_log_that_cannot_be_written_is_said_once(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_file, "_warned", False)
    monkeypatch.setattr(RecordWriter, "write", full)
    train(tiny("trainer.max_epochs=3"), tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{tmp_path}: cannot be written: No space left on device. Training goes on without logs."


@pytest.fixture
def begun(tiny: Compose, tmp_path: Path) -> Path:
    """A run of two epochs that was stopped in the second."""
    assert _killed(tiny(), tmp_path / "begun", "on_train_batch_start", 4)
    return tmp_path / "begun"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("instructions", lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "SSE2")),
        ("instructions", lambda patch: patch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")),
        ("device", lambda patch: patch.setattr(provenance, "processor", lambda: "another")),
        ("torch", lambda patch: patch.setattr(provenance, "version", lambda _: "1.0")),
        ("threads", lambda patch: patch.setattr(os, "cpu_count", lambda: 1)),
    ],
)
def test_a_run_goes_on_in_another_way_only_by_a_word(
    begun: Path, tiny: Compose, name: str, change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "threads":  # it was begun with more than this machine has cores
        last = run_folder.checkpoint(begun, "last")
        content = checkpoint_file.read(last)
        content["run"]["made_with"][-1]["threads"] = "7"
        torch.save(content, last)
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.suffix in (".ckpt", ".json")}
    change(monkeypatch)
    with pytest.raises(ConfigError, match=rf"cannot go on as it began: .*{name} .*\(now .*\)\.\n.*resume_anyway=true"):
        train(tiny(), begun, resume=True)
    assert {path: path.read_bytes() for path in before if path.suffix == ".ckpt"}.items() <= before.items()
    train(tiny(), begun, resume=True, anyway=True)
    (earlier,) = json.loads((begun / "result.json").read_text())["earlier_versions"]
    assert earlier == {name: earlier[name]}


def test_a_run_keeps_the_precision_and_the_threads_that_it_began_with(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor with bfloat16, then on one that is slow at it, with other threads in the environment."""
    config = tiny("trainer.precision=bf16-if-fast")
    monkeypatch.setattr(provenance, "has_bfloat16", lambda _: True)
    train(config, tmp_path / "whole")
    assert _killed(config, tmp_path / "run", "on_train_batch_start", 4)
    monkeypatch.setattr(provenance, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    train(config, tmp_path / "run", resume=True)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["precision"], result["device"]["threads"], result["earlier_versions"]) == ("bf16-mixed", 1, [])
    weights = [states.of(tmp_path / name)["state_dict"] for name in ("run", "whole")]
    assert states.differences(*weights) == []
