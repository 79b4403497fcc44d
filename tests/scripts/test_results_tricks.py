"""The README's table of the tricks."""

import re
from pathlib import Path

import pytest
import sweeps
import tricks
from made_up import Sweep, config, result

from mlplab.errors import CheckpointError


def test_the_table_goes_into_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep(tmp_path)
    for trick, gain in (("plain", 0.0), ("ema", 0.01), ("swa", 0.02)):
        for seed in range(3):
            sweep.add(result(config(seed=seed, trick=trick), 0.9 + gain, 0.9))
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- tricks -->\nold\n<!-- /tricks -->\nafter\n")
    monkeypatch.setattr(sweeps, "PROJECT", tmp_path)
    tricks.publish(tmp_path)
    before, table, after = re.split(r"<!-- /?tricks -->\n", readme.read_text())
    assert (before, after) == ("before\n", "after\n")
    assert [line.split(" | ")[1] for line in table.splitlines()[2:4]] == ["+2.00", "+1.00"]
    assert table.endswith("\n\n6 pairs of runs of 5 epochs, precision 32-true.\n")


def test_a_sweep_without_a_baseline_is_refused(tmp_path: Path) -> None:
    Sweep(tmp_path).add(result(config(trick="ema")))
    with pytest.raises(CheckpointError, match="no runs that could be compared with a reference"):
        tricks.publish(tmp_path)
