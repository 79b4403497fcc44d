"""A run that was stopped anywhere and goes on ends as one that was not."""

import errno
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hostile_files
import pytest
import states
import torch
from conftest import Compose
from lightning.pytorch import Callback, Trainer
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor

from mlplab import blocks, checkpoint_io, durable, log_file, run_folder, training
from mlplab.classifier import Classifier
from mlplab.config import Config
from mlplab.datamodule import Batch
from mlplab.errors import CheckpointError, DivergedError
from mlplab.randomness import Purpose, derive_many, seed_tensor
from mlplab.saving import LastCheckpoint
from mlplab.step import Recipe, step
from mlplab.trainer import Parts
from mlplab.training import train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step itself, in small blocks: that its compilation does the same is for test_step.py to show."""

    def compiled(recipe: Recipe, tensors: Sequence[Tensor]) -> Callable[[list[Tensor]], None]:
        return lambda tensors: step(recipe, tensors)

    monkeypatch.setattr(blocks, "compiled", compiled)
    monkeypatch.setattr(blocks, "BLOCK_S", 0.002)


class Killed(BaseException):
    """As a kill would, it saves nothing."""


class Kill(Callback):
    """At the n-th call of a hook."""

    def __init__(self, hook: str, calls: int) -> None:
        self.left = calls
        setattr(self, hook, self._count)

    def _count(self, *_: object, **__: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def _killed(config: Config, folder: Path, hook: str, calls: int, resume: bool = False) -> bool:
    """Whether the run came as far as that."""
    make = training.make_trainer

    def with_kill(config: Config, folder: Path) -> Parts:
        parts = make(config, folder)
        Kill.__module__ = "mlplab.tests"  # content with blocks
        parts.trainer.callbacks.insert(0, Kill(hook, calls))  # type: ignore[attr-defined]
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_trainer", with_kill)
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
    "double": ("trainer.precision=64-true", "evaluate_untrained=true", "trainer.accumulate_grad_batches=2"),
    "adafactor": ("optimizer.name=Adafactor", "data.val_size=0"),
    "distorted": ("augment=affine_elastic", "augment.shift=1"),
    "seldom": ("trainer.check_val_every_n_epoch=2", "optimizer=sgd", "trainer.gradient_clip_val=0.5"),
}
FEW_POINTS = [("on_train_batch_end", 15), ("on_train_epoch_end", 2)]
POINTS = [
    ("on_train_batch_start", 14),
    ("on_train_batch_end", 3),
    ("on_train_epoch_start", 3),
    ("on_train_epoch_end", 2),
    ("on_validation_batch_end", 2),
    ("on_validation_end", 2),
    ("on_train_end", 1),
    ("on_test_start", 1),
]


@pytest.mark.parametrize("compiled", ["true", "false"])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    tiny: Compose, tmp_path: Path, kind: str, compiled: str
) -> None:
    config = tiny(
        "trainer.max_epochs=4", *DROPOUT, *SCHEDULES[kind], f"compile={compiled}", "checkpoints.every_n_steps=4"
    )
    points = POINTS if kind in ("none", "often", "steps") else FEW_POINTS
    whole = train(config, tmp_path / "whole")
    expected, curves = states.of(whole.folder), states.curves(whole.folder)
    assert len(curves) > 9
    for hook, calls in points:
        folder = tmp_path / f"{hook} {calls}"
        assert _killed(config, folder, hook, calls), f"{hook} is not called {calls} times"
        assert not (folder / "result.json").exists()
        resumed = train(config, folder, resume=True)
        assert states.differences(states.of(folder), expected) == [], hook
        assert resumed.metrics == whole.metrics
        assert states.curves(folder) == curves, hook


def test_a_run_that_is_killed_again_and_again(tiny: Compose, tmp_path: Path) -> None:
    config = tiny("trainer.max_epochs=4", *DROPOUT, "compile=false", "checkpoints.every_n_steps=1")
    whole = train(config, tmp_path / "whole")
    kills = 0
    while _killed(config, tmp_path / "killed", "on_train_batch_start", 3, resume=kills > 0):
        kills += 1
    assert kills > 5
    assert states.differences(states.of(tmp_path / "killed"), states.of(whole.folder)) == []
    assert states.curves(tmp_path / "killed") == states.curves(whole.folder)


def test_a_run_that_is_made_longer_is_one_that_was_longer(tiny: Compose, tmp_path: Path) -> None:
    short, long = (tiny(f"trainer.max_epochs={epochs}", *DROPOUT) for epochs in (2, 4))
    train(short, tmp_path / "run")
    train(long, tmp_path / "run", resume=True)
    whole = train(long, tmp_path / "whole")
    assert states.differences(states.of(tmp_path / "run"), states.of(whole.folder)) == []
    assert states.curves(tmp_path / "run") == states.curves(whole.folder)
    assert json.loads((tmp_path / "run" / "result.2-epochs.json").read_text())["epochs"] == 2


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("text"),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"0"),
        lambda path: hostile_files.FILES["a pickle that runs code"].make(path, path, path.parent / "trace"),
        lambda path: (path.unlink(), path.symlink_to("nowhere")),
    ],
    ids=["cut", "empty", "text", "missing", "seal", "pickle", "link"],
)
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    tiny: Compose, tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    config, folder = tiny("trainer.max_epochs=4"), tmp_path / "killed"
    whole = train(config, tmp_path / "whole")
    assert _killed(config, folder, "on_train_epoch_end", 3)
    last = run_folder.checkpoint(folder, "last")
    assert checkpoint_io.read(last)["epoch"] == 2
    assert checkpoint_io.read(run_folder.previous(last))["epoch"] == 1
    damage(last)
    train(config, folder, resume=True)
    assert f"{last}: " in caplog.text
    assert "Going on from the one before it" in caplog.text
    assert not (last.parent / "trace").exists()
    assert states.differences(states.of(folder), states.of(whole.folder)) == []
    assert states.curves(folder) == states.curves(whole.folder)
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
        *((key, None) for key in ("loops", "position", "optimizer_states", "lr_schedulers", "history", "callbacks")),
        *((key, None) for key in ("figures", "epoch", "global_step", "pytorch-lightning_version", "state_dict")),
        ("position/batch", "x"),
        ("position/batch", 999),
        ("position/batch", -1),
        ("position", {}),
        ("loops", {}),
        ("loops/fit_loop", {}),
        ("callbacks", {}),
        ("callbacks/BestCheckpoint", {}),
        ("history", "abc"),
        ("optimizer_states", []),
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
    content = checkpoint_io.read(last)
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
        lambda path: torch.save({**checkpoint_io.read(path), "state_dict": {}}, path),
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


def test_damaged_curves_are_kept_aside(
    tiny: Compose, unfinished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "run"))
    (events,) = folder.glob("events.out.tfevents.*")
    content = bytearray(events.read_bytes())
    content[200] ^= 1
    events.write_bytes(content)
    train(tiny(), folder, resume=True)
    assert f"{events}: damaged" in caplog.text
    (aside,) = folder.glob("damaged-curves.*")
    assert aside.read_bytes() == content
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1


def test_curves_that_a_kill_cut_off_are_not_damaged(
    tiny: Compose, unfinished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "run"))
    (events,) = folder.glob("events.out.tfevents.*")
    events.write_bytes(events.read_bytes()[:-5])
    train(tiny(), folder, resume=True)
    assert "damaged" not in caplog.text
    assert list(folder.glob("damaged-curves.*")) == []


@pytest.mark.parametrize("augment", ["none", "affine_elastic"])
def test_images_come_in_the_order_of_their_epoch(tiny: Compose, tmp_path: Path, augment: str) -> None:
    """Also where a run goes on in the middle of one; each batch is distorted in its own way."""
    config = tiny("compile=false", f"augment={augment}", "checkpoints.every_n_steps=1", "trainer.max_epochs=3")
    seen: dict[tuple[int, int], Tensor] = {}
    step = Classifier.training_step

    def noted(self: Classifier, batch: Batch, batch_idx: int) -> Tensor:
        seen[self.current_epoch, self.trainer.fit_loop.epoch_loop.batch_idx] = batch[0]
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "training_step", noted)
        assert _killed(config, tmp_path, "on_train_batch_end", 13)
        seen.clear()
        train(config, tmp_path, resume=True)
    assert min(seen) == (1, 4)
    datamodule, _ = training.build(config)
    for (epoch, batch), images in seen.items():
        rows = datamodule.epoch_rows(epoch)[20 * batch : 20 * (batch + 1)]
        seed = seed_tensor(derive_many(8, 0, Purpose.AUGMENT, epoch)[batch], torch.device("cpu"))
        pixels = datamodule.distortion(datamodule._loaded.train_images[rows], seed)
        assert torch.equal(images, datamodule.normalized(pixels))
    assert len(seen) == 4 + 8


def test_a_thread_that_cannot_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(durable, "sealed", fail)
    io = checkpoint_io.DurableCheckpointIO()
    io.save_checkpoint({}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt: cannot be written: MemoryError"):
        io.wait()


def test_what_diverges_in_validation_keeps_an_earlier_checkpoint(tiny: Compose, tmp_path: Path) -> None:
    config = tiny("optimizer=sgd", "optimizer.lr=1e20", "trainer.limit_train_batches=1", "compile=false")
    with pytest.raises(DivergedError, match="val/loss after step 1"):
        train(config, tmp_path)
    assert not run_folder.checkpoint(tmp_path, "last").exists()
    with pytest.raises(DivergedError, match="val/loss after step 1"):
        train(config, tmp_path, resume=True)


def test_a_run_without_a_checkpoint_begins_anew(tiny: Compose, tmp_path: Path) -> None:
    config = tiny()
    assert _killed(config, tmp_path / "killed", "on_train_batch_end", 2)
    train(config, tmp_path / "killed", resume=True)
    whole = train(config, tmp_path / "whole")
    assert states.differences(states.of(tmp_path / "killed"), states.of(whole.folder)) == []


@pytest.mark.parametrize(
    ("interval", "compiled", "oldest"),
    [
        ("every_n_steps=3", "false", 3),
        ("every_n_steps=3", "true", 3),
        ("every_n_minutes=1e-9", "false", 1),
        ("every_n_steps=null", "false", 8),
    ],
)
def test_the_last_checkpoint_is_not_older_than_its_interval(
    tiny: Compose, tmp_path: Path, interval: str, compiled: str, oldest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one, than an epoch."""
    steps = [0]
    save = LastCheckpoint.save

    def noted(self: LastCheckpoint, trainer: Trainer) -> None:
        save(self, trainer)
        steps.append(trainer.global_step)

    monkeypatch.setattr(LastCheckpoint, "save", noted)
    train(tiny(f"compile={compiled}", f"checkpoints.{interval}", "trainer.max_epochs=3"), tmp_path)
    assert max(after - before for before, after in itertools.pairwise(steps)) == oldest
    assert steps[-1] == 24


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


def test_a_diverged_run_keeps_finite_weights(tiny: Compose, tmp_path: Path) -> None:
    for compiled in ("true", "false"):
        with pytest.raises(DivergedError, match=r"train/loss of step \d+ is nan"):
            train(tiny("optimizer=sgd", "optimizer.lr=1e20", f"compile={compiled}"), tmp_path / compiled)
        content = checkpoint_io.read(tmp_path / compiled / "checkpoints" / "last.ckpt")
        assert all(weight.isfinite().all() for weight in content["state_dict"].values())
        status = run_folder.read_status(tmp_path / compiled)
        assert status is not None
        assert status["status"] == "diverged"
        assert not (tmp_path / compiled / "result.json").exists()
