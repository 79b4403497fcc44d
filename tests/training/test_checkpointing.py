"""A run that was stopped anywhere goes on from the last epoch that had ended, and ends as one that was not."""

import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import hostile_files
import pytest
import states
import torch
from conftest import Compose
from lightning.pytorch import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from mlplab.config.schema import Config
from mlplab.errors import CheckpointError, ConfigError, DivergedError, Interrupted
from mlplab.model.classifier import Classifier
from mlplab.model.training_step import Steps
from mlplab.monitoring import progress
from mlplab.randomness import Purpose, derive_many, permutation
from mlplab.runs import atomic_write, checkpoint_file, device, log_file
from mlplab.runs import folder as run_folder
from mlplab.training import run
from mlplab.training.run import train
from mlplab.training.trainer import Parts

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of an epoch's eight batches each, so that there is something between them."""
    monkeypatch.setattr(Classifier, "batches_per_block", lambda *_: 3)


class Killed(BaseException):
    """As a kill would, it saves nothing."""


IN_A_BLOCK = "a batch"


class Kill(Callback):
    """At the n-th call of a hook, or before the n-th batch."""

    def __init__(self, hook: str, calls: int) -> None:
        self.left = calls
        if hasattr(Callback, hook):
            setattr(self, hook, self.count)

    def count(self, *_: object, **__: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def _look_at_batches(patch: pytest.MonkeyPatch, look: Callable[[int, int, torch.Tensor], object]) -> None:
    """Call `look` with epoch, number in it and images of each batch, before its step."""
    steps = Steps.__call__

    def looking(
        self: Steps, images: Iterable[torch.Tensor], labels: torch.Tensor, epoch: int, first: int, *more: Any
    ) -> Any:
        def looked_at() -> Iterator[torch.Tensor]:
            for batch, own in enumerate(images, start=first):
                look(epoch, batch, own)
                yield own

        return steps(self, looked_at(), labels, epoch, first, *more)

    patch.setattr(Steps, "__call__", looking)


def _killed(config: Config, folder: Path, hook: str, calls: int, resume: bool = False) -> bool:
    """Whether the run came as far as that."""
    make, kill = run.make_trainer, Kill(hook, calls)

    def with_kill(*arguments: Any) -> Parts:
        parts = make(*arguments)
        parts.trainer.callbacks.insert(0, kill)  # type: ignore[attr-defined]
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_trainer", with_kill)
        if hook == IN_A_BLOCK:
            _look_at_batches(patch, kill.count)
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
    "seldom": ("trainer.check_val_every_n_epoch=2", "optimizer=sgd", "trainer.gradient_clip_val=0.5"),
}
FEW_POINTS = [("on_train_batch_end", 5), ("on_train_epoch_end", 2)]
POINTS = [
    ("on_train_epoch_start", 3),
    ("on_train_batch_start", 5),
    (IN_A_BLOCK, 13),
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
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("text"),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
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
    assert checkpoint_file.read(last)["epoch"] == 1  # the second
    assert checkpoint_file.read(run_folder.previous(last))["epoch"] == 0
    damage(last)
    train(config, folder, resume=True)
    assert f"{last}: " in caplog.text
    assert "Going on from the one before it" in caplog.text
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
        *(
            (key, None)
            for key in ("figures", "epoch", "global_step", "images_seen", "pytorch-lightning_version", "state_dict")
        ),
        ("run", {}),
        ("run/stopped", "x"),
        ("run/seconds", None),
        ("run/untrained", []),
        ("images_seen", "x"),
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("block", "says"),
    [(2, " in epoch 1 of 2.\nNothing was saved yet."), (4, " in epoch 2 of 2, which is lost.\nResume with: ")],
)
def test_a_signal_ends_a_run_when_its_block_is_done(
    tiny: Compose, tmp_path: Path, number: signal.Signals, block: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in the middle of a block."""
    config, word = tiny(*DROPOUT), "Interrupted" if number == signal.SIGINT else "Terminated"
    step, blocks = Classifier.training_step, 0

    def signalled(self: Classifier, *arguments: Any) -> dict[str, Any]:
        nonlocal blocks
        blocks += 1
        if blocks == block:
            signal.raise_signal(number)
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", signalled)
        with pytest.raises(Interrupted, match=word + re.escape(says)) as caught:
            train(config, tmp_path / "run")
    assert caught.value.exit_code == 128 + number
    assert blocks == block
    status = run_folder.read_status(tmp_path / "run")
    assert status is not None
    assert status["status"] == "interrupted"
    train(config, tmp_path / "run", resume=True)
    train(config, tmp_path / "whole")
    assert states.problems(tmp_path / "run", tmp_path / "whole") == []


def test_a_thread_that_cannot_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(atomic_write, "sealed", fail)
    io = checkpoint_file.DurableCheckpointIO()
    io.save_checkpoint({}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt: cannot be written: MemoryError"):
        io.wait()


def test_what_diverges_in_validation_keeps_an_earlier_checkpoint(tiny: Compose, tmp_path: Path) -> None:
    config = tiny("optimizer=sgd", "optimizer.lr=1e20", "trainer.limit_train_batches=1")
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
    assert states.problems(tmp_path / "killed", whole.folder) == []


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


@pytest.mark.parametrize("augment", ["none", "affine_elastic"])
def test_images_come_in_the_order_of_their_epoch(
    tiny: Compose, tmp_path: Path, augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run goes on, too; each batch is distorted in its own way."""
    config = tiny(f"augment={augment}", "trainer.max_epochs=3")
    assert _killed(config, tmp_path, "on_train_batch_end", 5)
    seen: dict[tuple[int, int], torch.Tensor] = {}
    _look_at_batches(monkeypatch, lambda epoch, batch, own: seen.update({(epoch, batch): own.clone()}))
    train(config, tmp_path, resume=True)
    assert sorted(seen) == [(epoch, batch) for epoch in (1, 2) for batch in range(8)]
    datamodule, _ = run.build(config)
    data, _ = datamodule.training_data(torch.device("cpu"))
    for (epoch, batch), images in seen.items():
        order = permutation(150, 0, Purpose.ORDER, epoch)[20 * batch : 20 * (batch + 1)]
        pixels = data[datamodule.train_rows[order]]
        if augment != "none":
            pixels = datamodule.distortion(pixels, derive_many(8, 0, Purpose.AUGMENT, epoch)[batch])
        assert torch.equal(images, datamodule.normalized(pixels))


def test_what_diverges_at_once_has_nothing_to_keep(tiny: Compose, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"train/loss of step 2 is (nan|inf)") as caught:
        train(tiny("optimizer=sgd", "optimizer.lr=1e20"), tmp_path)
    assert "optimizer.lr=1e+20" in str(caught.value)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    _has_diverged(tmp_path)


def test_a_diverged_run_keeps_the_weights_of_its_last_whole_epoch(tiny: Compose, tmp_path: Path) -> None:
    """The third epoch's first step, of a rate of 1e22, is step 17; its block has three steps."""
    sudden = (
        "optimizer=sgd",
        "optimizer.lr=0.01",
        "scheduler.name=StepLR",
        "scheduler.step_size=2",
        "scheduler.gamma=1e24",
    )
    config = tiny(*sudden, "trainer.max_epochs=4")
    trained: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        _look_at_batches(patch, lambda epoch, batch, _: trained.append((epoch, batch)))
        with pytest.raises(DivergedError, match=r"train/loss of step 18 is (nan|inf)"):
            train(config, tmp_path / "diverged")
    assert trained == [(epoch, batch) for epoch in range(3) for batch in range(8)][: 16 + 3]
    _has_diverged(tmp_path / "diverged")
    train(tiny(*sudden, "trainer.max_epochs=2"), tmp_path / "whole")
    weights = [states.of(tmp_path / name)["state_dict"] for name in ("diverged", "whole")]
    assert states.differences(*weights) == []
    with pytest.raises(DivergedError, match=r"train/loss of step 18 is (nan|inf)"):
        train(config, tmp_path / "diverged", resume=True)


def test_weights_that_no_loss_was_taken_of_are_not_kept(tiny: Compose, tmp_path: Path) -> None:
    """Those after the last step of an epoch, 20 of 2 times 10, where nothing validates."""
    sudden = ("scheduler.name=StepLR", "scheduler.interval=step", "scheduler.step_size=19", "scheduler.gamma=1e42")
    with pytest.raises(DivergedError, match="a weight after step 20 is nan"):
        train(tiny("optimizer=sgd", "optimizer.lr=0.01", *sudden, "data.val_size=0"), tmp_path)
    assert checkpoint_file.read(run_folder.checkpoint(tmp_path, "last"))["global_step"] == 10
    _has_diverged(tmp_path)


def _has_diverged(folder: Path) -> None:
    status = run_folder.read_status(folder)
    assert status is not None
    assert status["status"] == "diverged"
    assert not (folder / "result.json").exists()
    last = run_folder.checkpoint(folder, "last")
    if last.exists():
        assert all(weight.isfinite().all() for weight in checkpoint_file.read(last)["state_dict"].values())


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
        ("device", lambda patch: patch.setattr(device, "processor", lambda: "another")),
        ("torch", lambda patch: patch.setattr(device, "version", lambda _: "1.0")),
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
    monkeypatch.setattr(device, "has_bfloat16", lambda _: True)
    train(config, tmp_path / "whole")
    assert _killed(config, tmp_path / "run", "on_train_batch_start", 4)
    monkeypatch.setattr(device, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    train(config, tmp_path / "run", resume=True)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["precision"], result["device"]["threads"], result["earlier_versions"]) == ("bf16-mixed", 1, [])
    weights = [states.of(tmp_path / name)["state_dict"] for name in ("run", "whole")]
    assert states.differences(*weights) == []


def test_a_run_from_before_its_arithmetic_was_noted_goes_on(begun: Path, tiny: Compose) -> None:
    last = run_folder.checkpoint(begun, "last")
    content = checkpoint_file.read(last)
    del content["run"]["made_with"]
    torch.save(content, last)
    train(tiny(), begun, resume=True)
    assert json.loads((begun / "result.json").read_text())["earlier_versions"] == []


def test_a_run_whose_time_is_over_is_not_complete(
    tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(), tmp_path / "whole")
    config = tiny("trainer.max_time=00:00:10:00")
    clock = [0.0]
    monkeypatch.setattr("mlplab.training.signals.time.monotonic", lambda: clock[0])

    def run(blocks: int, resume: bool = False) -> None:
        """Its time is over in the block after so many."""
        left = [blocks]

        def tick(*_: object) -> None:
            left[0] -= 1
            clock[0] += 1000 * (left[0] == 0)

        with monkeypatch.context() as patch:
            patch.setattr(progress.Progress, "on_train_batch_start", tick, raising=False)
            train(config, tmp_path / "run", resume)

    with pytest.raises(
        Interrupted, match=r"max_time is over in epoch 1 of 2, which is lost\.\nNothing was saved"
    ) as caught:
        run(1)
    assert caught.value.exit_code == 143
    assert not (tmp_path / "run" / "result.json").exists()
    with pytest.raises(
        Interrupted, match=r"max_time is over after 1 of 2 epochs\.\nResume with: python train.py resume="
    ):
        run(3, resume=True)  # with the last of the epoch, which is kept
    status = run_folder.read_status(tmp_path / "run")
    assert status is not None
    assert status["status"] == "interrupted"
    run(3, resume=True)  # with the last of all: nothing is left to train
    weights = [states.of(tmp_path / name)["state_dict"] for name in ("run", "whole")]
    assert states.differences(*weights) == []


def test_time_that_would_be_lost_is_refused(tiny: Compose, tmp_path: Path) -> None:
    for flags, says in (
        (["trainer.enable_checkpointing=false"], "needs checkpoints"),
        (["trainer.max_time=soon"], "days"),
    ):
        with pytest.raises(ConfigError, match=rf"trainer\.max_time: .*{says}"):
            train(tiny("trainer.max_time=00:00:10:00", *flags), tmp_path)
