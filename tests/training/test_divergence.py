"""A run that diverges ends with an error, and keeps the finite weights of its last whole epoch."""

from pathlib import Path

import pytest
import states
from conftest import Compose

from mlplab.errors import DivergedError
from mlplab.runs import checkpoint_file
from mlplab.runs import folder as run_folder
from mlplab.runs.result import read_status
from mlplab.training.run import train

FAST = ("optimizer=sgd", "optimizer.lr=1e20")


def _after(steps: int, times: str) -> tuple[str, ...]:
    """Return a learning rate that is fine for some steps, and far too high afterwards."""
    schedule = ("scheduler.name=StepLR", "scheduler.interval=step", f"scheduler.step_size={steps}")
    return ("optimizer=sgd", "optimizer.lr=0.01", *schedule, f"scheduler.gamma={times}")


@pytest.mark.parametrize(
    ("overrides", "says", "epochs"),
    [
        (FAST, r"train/loss of step 2 is (nan|inf)", 0),
        ((*FAST, "trainer.limit_train_batches=1"), "val/loss after step 1", 0),
        (_after(16, "1e24"), r"train/loss of step 18 is (nan|inf)", 2),
        ((*_after(16, "1e24"), "model.batch_norm=true", "averaging=ema"), "step 1", 2),
        ((*_after(19, "1e42"), "data.val_size=0", "trainer.max_epochs=2"), "a weight after step 20 is nan", 1),
    ],
)
def test_a_diverged_run_keeps_the_weights_of_its_last_whole_epoch(
    tiny: Compose, tmp_path: Path, overrides: tuple[str, ...], says: str, epochs: int
) -> None:
    config = tiny("trainer.max_epochs=4", *overrides)
    for resume in (False, True):
        with pytest.raises(DivergedError, match=says) as caught:
            train(config, tmp_path / "diverged", resume=resume)
    assert "training diverged with optimizer.lr=" in str(caught.value)
    status = read_status(tmp_path / "diverged")
    assert status is not None
    assert status.status == "diverged"
    assert not (tmp_path / "diverged" / "result.json").exists()
    last = run_folder.checkpoint(tmp_path / "diverged", "last")
    assert last.exists() == (epochs > 0)
    if epochs:
        content = checkpoint_file.read(last)
        assert len(content["history"]) == epochs
        train(tiny(*overrides, f"trainer.max_epochs={epochs}"), tmp_path / "whole")
        whole = states.of(tmp_path / "whole")["state_dict"]
        assert states.differences(content["state_dict"], whole) == []
