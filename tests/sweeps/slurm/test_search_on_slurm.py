"""A search whose workers run on a real SLURM, and are cancelled; and whose leader is killed."""

import os

import pytest
import states
from conftest import Program
from test_slurm import CLUSTER, slurm
from waiting import wait_until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif("MLPLAB_TEST_CLUSTER" not in os.environ, reason="needs a cluster of its own: make test-slurm"),
]

WORDS = (
    *("search=halving", "search.sampler=random", "search.wave=4", "search.budget=4"),
    *("search.finalists=1", "search.seeds=1", "data=digits", "trainer.max_epochs=3", "trainer.accelerator=cpu"),
    *("optimizer.lr=interval(1e-4,1e-1)", "model.hidden=8,16", "jobs=2"),
)


def test_a_search_on_a_cluster_is_that_of_one_machine(program: Program) -> None:
    sweeps = program.folder / "outputs" / "sweeps"
    here = program.run(*WORDS, "sweep_name=here")
    assert here.code == 0, here.err
    with program.start(*WORDS, "sweep_name=there", *CLUSTER) as leader:
        wait_until(lambda: len(list((sweeps / "there").glob("*/paused.json"))) > 1, leader)
        worker = slurm("squeue", "--me", "--array", "--noheader", "--format=%i").splitlines()[0]
        slurm("scancel", worker)
        leader.kill()
        leader.communicate()
    with program.start(*WORDS, "sweep_name=there", *CLUSTER) as another:
        out, err = another.communicate()
    assert another.returncode == 0, err
    assert "\nWinner\n" in out
    for name in ("draws.jsonl", "finalists.jsonl"):
        assert (sweeps / "there" / name).read_bytes() == (sweeps / "here" / name).read_bytes()
    assert states.histories(sweeps / "there") == states.histories(sweeps / "here")
