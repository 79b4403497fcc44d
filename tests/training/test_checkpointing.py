"""A stopped run resumes after its last complete epoch, and ends like an undisturbed one."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
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
from mlplab.runs.checkpoint_writer import DurableCheckpointIO
from mlplab.training import run
from mlplab.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    """Make blocks of three of an epoch's eight batches, so that an epoch has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "batches_per_block", lambda *_: 3)
        yield


class Killed(BaseException):
    """Stands for a kill: nothing is saved."""


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
    """Train, and return whether the run was killed."""
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


DROPOUT = ("model.dropout=0.3", "show.scalars=true", "trainer.log_every_n_steps=3")
KINDS = {
    "shown": ("show.text=true", "show.graph=true"),
    "often": ("trainer.val_check_interval=3", "optimizer=rmsprop"),
    "steps": ("trainer.max_steps=29", "trainer.max_epochs=9", "trainer.gradient_clip_val=0.5"),
    "stopping": ("early_stopping.patience=0", "early_stopping.min_delta=0.25", "trainer.max_epochs=40"),
    "one cycle, distorted": (
        *("scheduler=onecycle", "optimizer=sgd", "optimizer.lr=0.05"),
        *("augment=affine_elastic", "augment.shift=1"),
    ),
    "plateau, ema": (
        *("scheduler.name=ReduceLROnPlateau", "scheduler.patience=0", "scheduler.threshold=0.3"),
        *("averaging=ema", "averaging.decay=0.9", "model.batch_norm=true", "aids.mixup=0.5"),
    ),
    "64 bits, warm-up": (
        *("trainer.precision=64-true", "evaluate_untrained=true", "averaging=ema", "averaging.decay=0.8"),
        *("scheduler=cosine", "scheduler.warmup=11"),
    ),
    "no validation, swa": ("data.val_size=0", "optimizer.name=Adafactor", "averaging=swa", "averaging.start=0.5"),
    "one batch at a time, swa": (
        *("trainer.limit_train_batches=8", "averaging=swa", "averaging.start=0.3"),
        *("model.batch_norm=true", "aids.max_norm=1"),
    ),
    "all that draw": (
        *("model.batch_norm=true", "model.input_dropout=0.1", "model.input_noise=0.1", "model.hidden_noise=0.1"),
        *("model.dropout=0.2", "aids.mixup=0.4", "aids.max_norm=2", "aids.label_smoothing=0.1"),
    ),
    "seldom": ("trainer.check_val_every_n_epoch=2", "optimizer=sgd", "trainer.gradient_clip_val=0.5"),
}
# Hooks and their calls, since the start or the last kill, at which a run is killed, and the epochs that are then saved,
# where each has three blocks: all before the one under way, but for the one that has just ended, while its figures are
# shown.
KILLS = [("on_train_batch_end", 5, 1), ("on_train_epoch_end", 2, 2)]
MORE_KILLS = [
    [
        *(("on_train_batch_start", 4, 1), ("on_train_epoch_start", 3, 2)),
        *(("on_train_end", 1, 3), ("on_test_start", 1, 4)),
    ],
    [
        *(("on_train_batch_end", 3, 0), ("on_train_epoch_end", 2, 1), ("on_validation_batch_end", 2, 2)),
        *(("on_validation_end", 2, 3), ("on_test_end", 1, 4)),
    ],
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_killed_ends_as_one_that_was_not(tiny: Compose, tmp_path: Path, kind: str) -> None:
    """The run is killed repeatedly; between two kills, at least one epoch ends."""
    config = tiny("trainer.max_epochs=4", *DROPOUT, *KINDS[kind])
    whole = train(config, tmp_path / "whole")
    for number, kills in enumerate(MORE_KILLS if kind in ("shown", "often", "steps") else [KILLS]):
        folder = tmp_path / str(number)
        for hook, calls, epochs in kills:
            assert _killed(config, folder, hook, calls, resume=folder.exists()), f"{hook} is not called {calls} times"
            assert not (folder / "result.json").exists()
            last = run_folder.checkpoint(folder, "last")
            saved = len(checkpoint_file.read(last)["history"]) if last.exists() else 0
            assert saved == epochs or kind in ("often", "steps", "one batch at a time, swa"), hook
        train(config, folder, resume=True)
        assert states.problems(folder, whole.folder) == []
    assert len(states.curves(whole.folder)) > 9


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_test_start"])
def test_a_run_that_is_killed_about_to_stop_early_stops_there(tiny: Compose, tmp_path: Path, hook: str) -> None:
    """Its patience is half used up, or it has stopped and is not yet tested."""
    stops = ("early_stopping.patience=2", "early_stopping.min_delta=0.25", "trainer.max_epochs=40")
    config = tiny(*DROPOUT, *stops)
    whole = train(config, tmp_path / "whole")
    assert whole.epochs < 40
    assert _killed(config, tmp_path / "run", hook, whole.epochs if hook == "on_train_epoch_start" else 1)
    train(config, tmp_path / "run", resume=True)
    assert states.problems(tmp_path / "run", whole.folder) == []


def test_a_run_that_is_made_longer_is_one_that_was_longer(tiny: Compose, tmp_path: Path) -> None:
    short, long = (tiny(f"trainer.max_epochs={epochs}", *DROPOUT) for epochs in (2, 4))
    train(short, tmp_path / "run")
    train(long, tmp_path / "run", resume=True)
    whole = train(long, tmp_path / "whole")
    assert states.problems(tmp_path / "run", whole.folder) == []
    assert json.loads((tmp_path / "run" / "result.2-epochs.json").read_text())["epochs"] == 2


Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tiny: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs."""
    return train(tiny("trainer.max_epochs=4"), tmp_path_factory.mktemp("whole")).folder


@pytest.fixture(scope="module")
def _stopped(tiny: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:  # each epoch is written: on a busy disk the next would replace it
        release = DurableCheckpointIO.release
        patch.setattr(DurableCheckpointIO, "release", lambda files: (release(files), files.teardown()))
        assert _killed(tiny("trainer.max_epochs=4"), folder, "on_train_epoch_end", 3)
    return folder


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """The same run, killed in its third epoch, for a test to damage."""
    return shutil.copytree(_stopped, tmp_path / "run")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.unlink(),
        lambda path: hostile_files.FILES["code among the weights"].make(path, path, path.parent / "trace"),
    ],
    ids=["cut", "missing", "code"],
)
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    tiny: Compose, whole: Path, stopped: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    last = run_folder.checkpoint(stopped, "last")
    assert checkpoint_file.read(last)["epoch"] == 1  # the second
    assert checkpoint_file.read(run_folder.previous(last))["epoch"] == 0
    damage(last)
    train(tiny("trainer.max_epochs=4"), stopped, resume=True)
    assert f"{last}: " in caplog.text
    assert "Resuming from the one before it" in caplog.text
    assert not (last.parent / "trace").exists()
    assert states.problems(stopped, whole) == []
    assert not run_folder.previous(last).exists()


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
    tiny: Compose, stopped: Path, place: str, value: object
) -> None:
    last = run_folder.checkpoint(stopped, "last")
    run_folder.previous(last).unlink()
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
        train(tiny("trainer.max_epochs=4"), stopped, resume=True)
    assert len(str(caught.value).splitlines()) <= 5
    assert not (stopped / "result.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: torch.save({**checkpoint_file.read(path), "state_dict": {}}, path),
    ],
    ids=["missing", "cut", "other weights"],
)
def test_without_its_best_weights_a_run_does_not_go_on(tiny: Compose, stopped: Path, damage: Damage) -> None:
    damage(run_folder.checkpoint(stopped, "best"))
    with pytest.raises(CheckpointError, match=r"best\.ckpt: (.|\n)*The best weights of the run are lost"):
        train(tiny("trainer.max_epochs=4"), stopped, resume=True)


@pytest.mark.parametrize("damage", [lambda events: events[:-5], lambda events: events[:200] + b"?" + events[201:]])
def test_curves_that_are_cut_off_or_damaged_are_kept_as_far_as_they_can_be_read(
    tiny: Compose, stopped: Path, damage: Callable[[bytes], bytes]
) -> None:
    (events,) = stopped.glob("events.out.tfevents.*")
    events.write_bytes(damage(events.read_bytes()))
    result = train(tiny("trainer.max_epochs=4"), stopped, resume=True)
    assert result.metrics["test/acc"] > 0
    (events,) = stopped.glob("events.out.tfevents.*")
    curve = EventAccumulator(str(stopped)).Reload().Scalars("val/loss")
    assert [point.step for point in curve][-1] == 4 * 8 - 1


def test_where_an_epoch_is_long_one_line_says_what_a_kill_costs(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train(tiny("trainer.max_epochs=1"), tmp_path / "short")
    assert "loses the current epoch" not in caplog.text
    monkeypatch.setattr(progress, "LONG_EPOCH_S", -1.0)
    train(tiny(), tmp_path / "long")
    said = "a run that is stopped or killed loses the current epoch, here up to 0 s"
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
    stopped: Path,
    tiny: Compose,
    name: str,
    change: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny("trainer.max_epochs=4")
    if name == "threads":  # it was begun with more than this machine has cores
        last = run_folder.checkpoint(stopped, "last")
        content = checkpoint_file.read(last)
        content["run"]["made_with"][-1]["threads"] = "7"
        torch.save(content, last)
    before = {path: path.read_bytes() for path in stopped.rglob("*.ckpt")}
    change(monkeypatch)
    with pytest.raises(
        ConfigError, match=rf"cannot be resumed as it began: .*{name} .*\(now .*\)\.\n.*resume_anyway=true"
    ):
        train(config, stopped, resume=True)
    assert {path: path.read_bytes() for path in stopped.rglob("*.ckpt")} == before
    train(config, stopped, resume=True, anyway=True)
    (earlier,) = json.loads((stopped / "result.json").read_text())["earlier_versions"]
    assert earlier == {name: earlier[name]}


def test_a_run_keeps_the_precision_and_the_threads_that_it_began_with(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tested on a processor with bfloat16, then on one without, and with another number of threads."""
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
