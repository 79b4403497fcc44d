"""What a signal does before, in and after training; test_resume.py sends some to a process."""

import os
import signal
from pathlib import Path

import pytest

from mlplab.errors import Interrupted
from mlplab.runs import folder as run_folder
from mlplab.training.checkpointing import LastCheckpoint
from mlplab.training.signals import Interruption


@pytest.fixture
def interruption(tmp_path: Path) -> Interruption:
    return Interruption(LastCheckpoint(tmp_path / "last.ckpt"), tmp_path)


def test_before_training_it_ends_the_process(interruption: Interruption, tmp_path: Path) -> None:
    with interruption.noticed(), pytest.raises(Interrupted, match=r"Interrupted\.\nNothing was saved yet\.") as caught:
        signal.raise_signal(signal.SIGINT)
    assert caught.value.exit_code == 130
    interruption.last.path.write_text("")
    with (
        interruption.noticed(),
        pytest.raises(Interrupted, match=rf"Terminated\.\nResume with: python train\.py resume={tmp_path}") as caught,
    ):
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143


def test_a_terminal_that_is_closed_ends_it_but_for_nohup(interruption: Interruption) -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with interruption.noticed():
            signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with interruption.noticed(), pytest.raises(Interrupted, match=r"The terminal was closed\.\nNothing") as caught:
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert caught.value.exit_code == 129


def test_in_training_a_second_interrupt_ends_it_at_once(
    interruption: Interruption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def ended(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", ended)
    interruption._training = True
    with interruption.noticed():
        for number in (signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        assert interruption.signal == signal.SIGTERM
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGINT)
    assert caught.value.code == 130
    assert capfd.readouterr().err == "Stopping ...\nInterrupted at once.\n"
    status = run_folder.read_status(tmp_path)
    assert status is not None
    assert status["status"] == "interrupted"


def test_a_second_signal_of_the_system_does_not_hide_where_the_first_one_ended_it(interruption: Interruption) -> None:
    with interruption.noticed():
        interruption._training = True
        signal.raise_signal(signal.SIGTERM)
        interruption._training = False  # as when the first one has ended the training
        signal.raise_signal(signal.SIGTERM)


def test_when_the_work_is_done_it_does_nothing(interruption: Interruption) -> None:
    interruption.is_ignored = True
    with interruption.noticed():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)


def test_the_handlers_of_others_come_back(interruption: Interruption) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruption.noticed():
        assert signal.getsignal(signal.SIGINT) not in before
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("scontrol", ["exit 1", None])
def test_a_job_that_cannot_be_requeued_is_interrupted_all_the_same(
    interruption: Interruption,
    tmp_path: Path,
    scontrol: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if scontrol is not None:
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{scontrol}\n")
        (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    with interruption.noticed(), pytest.raises(Interrupted, match=r"Signalled\.\nNothing was saved") as caught:
        signal.raise_signal(signal.SIGUSR1)
    assert caught.value.exit_code == 128 + signal.SIGUSR1
    assert "scontrol requeue 42 failed" in caplog.text
