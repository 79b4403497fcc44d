"""A signal or a time limit stops a run at the end of a block; test_resume.py sends signals to a process."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import states
from conftest import Compose

from mlplab.errors import ConfigError, Interrupted
from mlplab.model.classifier import Classifier
from mlplab.runs.result import read_status
from mlplab.training.run import train
from mlplab.training.signals import Interruption


@pytest.fixture(scope="module", autouse=True)
def _three_blocks_an_epoch() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "batches_per_block", lambda *_: 3)
        yield


@pytest.fixture
def in_block(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], list[int]]:
    """Call a function in the middle of the n-th block, and return the numbers of the blocks that ran."""
    step, ran = Classifier.training_step, list[int]()

    def at(block: int, call: Callable[[], object]) -> list[int]:
        def with_call(self: Classifier, *arguments: Any) -> dict[str, Any]:
            ran.append(len(ran) + 1)
            if len(ran) == block:
                call()
            return step(self, *arguments)

        monkeypatch.setattr(Classifier, "training_step", with_call)
        return ran

    return at


def _is_interrupted(folder: Path) -> bool:
    status = read_status(folder)
    return status is not None and status.status == "interrupted"


@pytest.fixture(scope="module")
def whole(tiny: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    return train(tiny("model.dropout=0.3"), tmp_path_factory.mktemp("whole")).folder


@pytest.mark.parametrize(
    ("number", "block", "says"),
    [
        (signal.SIGINT, 2, "Interrupted in epoch 1 of 2.\nNothing was saved yet."),
        (signal.SIGTERM, 3, "Terminated after 1 of 2 epochs.\nResume with: python train.py resume="),
        (
            *(signal.SIGHUP, 4),
            "The terminal was closed in epoch 2 of 2, which is lost.\nResume with: python train.py resume=",
        ),
    ],
)
def test_a_signal_stops_a_run_at_the_end_of_its_block(
    tiny: Compose, tmp_path: Path, whole: Path, number: signal.Signals, block: int, says: str, in_block: Any
) -> None:
    ran = in_block(block, lambda: signal.raise_signal(number))
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=re.escape(says)) as caught:
        train(tiny("model.dropout=0.3"), tmp_path / "run")
    assert (caught.value.exit_code, len(ran)) == (128 + number, block)
    assert _is_interrupted(tmp_path / "run")
    assert signal.getsignal(number) == before
    train(tiny("model.dropout=0.3"), tmp_path / "run", resume=True)
    assert states.problems(tmp_path / "run", whole) == []


@pytest.mark.parametrize(("number", "heard", "block"), [(signal.SIGTERM, True, 6), (signal.SIGHUP, False, 2)])
def test_a_run_whose_last_block_is_done_completes_and_one_under_nohup(
    tiny: Compose, tmp_path: Path, number: signal.Signals, heard: bool, block: int, in_block: Any
) -> None:
    before = signal.getsignal(number) if heard else signal.signal(number, signal.SIG_IGN)
    in_block(block, lambda: signal.raise_signal(number))
    try:
        train(tiny(), tmp_path)
    finally:
        signal.signal(number, before)
    assert (tmp_path / "result.json").exists()


@pytest.mark.parametrize(("step", "completes"), [("validation_step", False), ("test_step", True)])
def test_lightning_which_hears_sigterm_too_does_not_end_the_process(
    tiny: Compose, tmp_path: Path, step: str, completes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tested between two batches, in the validation before training, and in the test."""
    usual = getattr(Classifier, step)

    def signalled(self: Classifier, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return usual(self, *arguments)

    monkeypatch.setattr(Classifier, step, signalled)
    monkeypatch.setattr("mlplab.data.blocks.EVAL_BATCH_SIZE", 20)
    if completes:
        train(tiny("evaluate_untrained=true"), tmp_path)
    else:
        with pytest.raises(Interrupted, match="Terminated") as caught:
            train(tiny("evaluate_untrained=true"), tmp_path)
        assert caught.value.exit_code == 143
        assert _is_interrupted(tmp_path)
    assert (tmp_path / "result.json").exists() == completes


def test_a_second_interrupt_ends_the_process_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def ended(code: int) -> None:
        raise KeyboardInterrupt(code)

    monkeypatch.setattr(os, "_exit", ended)
    with Interruption(tmp_path).heard():
        for number in (signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt, match="130"):
            signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err == "Stopping ...\nInterrupted at once.\n"
    assert _is_interrupted(tmp_path)


@pytest.mark.parametrize("scontrol", ["exit 1", None])
def test_a_job_that_cannot_be_requeued_is_interrupted_all_the_same(
    tiny: Compose,
    tmp_path: Path,
    scontrol: str | None,
    in_block: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if scontrol is not None:
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{scontrol}\n")
        (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    in_block(2, lambda: signal.raise_signal(signal.SIGUSR1))
    with pytest.raises(Interrupted, match=r"Signalled in epoch 1 of 2\.\nNothing was saved") as caught:
        train(tiny(), tmp_path / "run")
    assert caught.value.exit_code == 128 + signal.SIGUSR1
    assert "scontrol requeue 42 failed" in caplog.text


def test_a_run_whose_time_is_over_is_not_complete(
    tiny: Compose, tmp_path: Path, whole: Path, in_block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("mlplab.training.signals.time.monotonic", lambda: clock[0])
    config = tiny("model.dropout=0.3", "trainer.max_time=00:00:10:00")

    def over() -> None:
        clock[0] += 1000

    ran = in_block(1, over)
    with pytest.raises(Interrupted, match=r"max_time is over in epoch 1 of 2\.\nNothing was saved") as caught:
        train(config, tmp_path / "run")
    assert caught.value.exit_code == 143
    ran.clear()
    in_block(3, over)
    with pytest.raises(Interrupted, match=r"max_time is over after 1 of 2 epochs\.\nResume with: python train.py"):
        train(config, tmp_path / "run", resume=True)
    assert _is_interrupted(tmp_path / "run")
    ran.clear()
    train(config, tmp_path / "run", resume=True)  # its last block is done when its time is over
    assert states.differences(states.of(tmp_path / "run"), states.of(whole)) == []


@pytest.mark.parametrize(
    ("flags", "says"),
    [(["trainer.enable_checkpointing=false"], "needs checkpoints"), (["trainer.max_time=soon"], "days")],
)
def test_time_that_would_be_lost_is_refused(tiny: Compose, tmp_path: Path, flags: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=rf"trainer\.max_time: .*{says}"):
        train(tiny("trainer.max_time=00:00:10:00", *flags), tmp_path)
