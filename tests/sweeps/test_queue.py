"""Jobs that workers take from the folder of a sweep, and their order."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlplab.errors import ConfigError
from mlplab.runs.result import write_status
from mlplab.sweeps import job as job_file
from mlplab.sweeps import run, stop, worker
from mlplab.sweeps.job import Job
from mlplab.sweeps.queue import JOBS, Queue, opened

MULTIRUN = b"hydra: mlplab"


def job(folder: Path, name: str, cost: float = 1.0) -> Job:
    return Job(folder / name, (f"seed={name}",), name, f"hash of {name}", ("digits", "/nowhere"), 1, cost)


def fail(one: Job) -> None:
    one.folder.mkdir(exist_ok=True)
    write_status(one.folder, "failed", reason="as the test wants it")


def taken(queue: Queue) -> dict[str, Any]:
    """Take all available jobs; return the claims in order."""
    claims = {}
    while (found := queue.take()) is not None:
        claims[found[0].label] = found[1]
    return claims


def test_the_longest_comes_first_and_nobody_gets_what_another_has(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "short", 1), job(tmp_path, "long", 9), job(tmp_path, "middle", 5)]
    with opened(tmp_path, jobs, MULTIRUN):
        one, other = (Queue(tmp_path) for _ in range(2))
        first = one.take()
        assert first[0] == jobs[1]
        claims = taken(other)
        assert list(claims) == ["middle", "short"]
        assert one.take() is None
        assert other.is_taken()
        assert not one.is_over()
        first[1].lock.release()  # its worker has died
        assert list(taken(other)) == ["long"]


def test_what_comes_next_is_decided_by_a_function_once_all_has_ended(tmp_path: Path) -> None:
    first, second = job(tmp_path, "first"), job(tmp_path, "second")
    waves = [[second]]

    def more() -> bool:
        if waves:
            job_file.write(tmp_path / JOBS, waves.pop())
            return True
        return False

    with opened(tmp_path, [first], MULTIRUN):
        queue = Queue(tmp_path, more)
        claims = taken(queue)
        assert list(claims) == ["first"]
        assert queue.take() is None  # another worker is at work on the first
        claims["first"].lock.release()
        fail(first)
        assert not queue.is_over()
        assert list(taken(queue)) == ["second"]
        fail(second)
        assert queue.is_over()


def test_failed_is_what_failed_since_the_sweep_began(tmp_path: Path) -> None:
    before, since, foreign = (job(tmp_path, name) for name in ("before", "since", "foreign"))
    with opened(tmp_path, [before, since, foreign], MULTIRUN):
        pass
    fail(before)
    foreign.folder.mkdir()
    (foreign.folder / "thesis.txt").touch()
    with opened(tmp_path, [before, since, foreign], MULTIRUN):
        fail(since)
        queue = Queue(tmp_path)
        assert list(taken(queue)) == ["before"]
        assert [one.label for one in queue.left()] == ["before"]
        fail(before)
        assert queue.is_over()


def test_a_run_that_is_at_work_in_a_folder_is_waited_for(tmp_path: Path) -> None:
    one = job(tmp_path, "one")
    with opened(tmp_path, [one], MULTIRUN):
        one.folder.mkdir()
        with FileLock(one.folder / ".lock"):
            assert Queue(tmp_path).take() is None
        assert list(taken(Queue(tmp_path))) == ["one"]


def test_another_sweep_in_the_folder_is_joined_or_refused(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "one"), job(tmp_path, "two")]
    with opened(tmp_path, jobs, MULTIRUN):
        pass
    with FileLock(tmp_path / ".lock"):
        with opened(tmp_path, jobs[:1], MULTIRUN) as joined:
            assert joined == jobs[:1]
        with pytest.raises(ConfigError, match="another process"), opened(tmp_path, [job(tmp_path, "three")], b""):
            pass
    lines = [json.loads(line) for line in (tmp_path / "jobs.jsonl").read_text().splitlines()]
    assert [(line["folder"], line["overrides"], line["cost"]) for line in lines] == [
        ("one", ["seed=one"], 1),
        ("two", ["seed=two"], 1),
    ]


def test_a_stop_is_seen_by_all_and_gone_with_the_next_sweep(tmp_path: Path) -> None:
    with opened(tmp_path, [job(tmp_path, "one")], MULTIRUN):
        assert stop.asked(tmp_path) is None
        stop.ask(tmp_path, stop.Stop(130))
        asked = stop.asked(tmp_path)
        assert (asked.code, asked.grace_s > 0, replace(asked, at_once=True).grace_s) == (130, True, 0)
    with opened(tmp_path, [job(tmp_path, "one")], MULTIRUN):
        assert stop.asked(tmp_path) is None


def test_a_second_ctrl_c_while_the_first_is_passed_on_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def ask(folder: Path, given: stop.Stop) -> None:
        asked.append(given.at_once)
        if len(asked) == 1:
            signal.raise_signal(signal.SIGINT)

    looks = iter((True, True, False))
    monkeypatch.setattr(stop, "ask", ask)
    monkeypatch.setattr(run, "_started", lambda *_: signal.raise_signal(signal.SIGINT) or (lambda: next(looks)))
    run.train(Queue(tmp_path), 1, worker.Recipe(None, None))
    assert asked == [False, True]


def test_a_mark_that_somebody_else_made_stops_the_sweep(tmp_path: Path) -> None:
    mark = tmp_path / stop.MARK
    mark.touch()
    assert stop.asked(tmp_path) == stop.Stop(143)
    mark.unlink()
    os.mkfifo(mark)  # to open it would wait for one who writes to it
    assert stop.asked(tmp_path) is None


@pytest.mark.parametrize(
    ("count", "visible", "chosen"),
    [
        (3, None, ["0", "1", "2", "0", "1"]),
        (8, "5,7", ["5", "7", "5", "7", "5"]),
        (8, "GPU-a,GPU-b", ["GPU-a", "GPU-b", "GPU-a", "GPU-b", "GPU-a"]),
        (1, None, [None] * 5),
        (8, "", [None] * 5),
        (0, None, [None] * 5),
    ],
)
def test_workers_spread_over_the_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None, chosen: list[str | None]
) -> None:
    for name in (*(f"nvidia{index}" for index in range(count)), "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "environ", {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert worker.spread(worker.gpus(tmp_path), 5) == chosen
