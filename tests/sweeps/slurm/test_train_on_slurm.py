"""A sweep of train.py on a real SLURM, of which one job is killed and one is put back into the queue."""

import os
from pathlib import Path

import pytest
from commands import slurm, start_again_now, wait_until
from conftest import Program
from omegaconf import OmegaConf

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif("MLPLAB_TEST_CLUSTER" not in os.environ, reason="needs a cluster of its own: make test-slurm"),
]

COMMAND = (
    "-m",
    "data=digits",
    "model.hidden=8,16,32",
    "seed=0,1",
    "trainer.max_epochs=600",
    "trainer.accelerator=cpu",
    "sweep_name=six",
    "hydra/launcher=slurm",
)


def test_the_same_command_finishes_what_was_killed(program: Program) -> None:
    sweep = program.folder / "outputs" / "sweeps" / "six"
    first = program.start(*COMMAND)
    try:
        wait_until(lambda: len(begun(sweep)) > 1, "the first checkpoints of two jobs")
        killed, requeued = begun(sweep)[:2]
        slurm("scancel", "--signal=KILL", f"{killed}.0")
        slurm("scontrol", "requeue", requeued)
        start_again_now(requeued)
        out, err = first.communicate()
    finally:
        first.kill()
        slurm("scancel", "--me")
    assert first.returncode == 6, out + err
    assert f"SLURM job {killed} was killed by SIGKILL" in out
    assert len(results(sweep)) == 5
    before = {path: path.stat().st_mtime_ns for path in results(sweep)}

    second = program.run(*COMMAND)
    assert second.code == 0, second.err
    assert len(results(sweep)) == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before  # no finished job was trained again


def begun(sweep: Path) -> list[str]:
    """Ids of the jobs that have something to go on with."""
    folders = [path.parent.parent for path in sweep.glob("*/checkpoints/last.ckpt")]
    running = [folder for folder in folders if not (folder / "result.json").exists()]
    return [OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra.job.id for folder in running]


def results(sweep: Path) -> list[Path]:
    return sorted(sweep.glob("*/result.json"))
