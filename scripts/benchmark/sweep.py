"""What sweeps take from start to answer: of twelve jobs at once, one after the other, and in the usual way without this
project; and the README's of sixty, with an earlier version beside it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recipes import RECIPES
from turns import HERE, PROJECT

SEEDS, EPOCHS = 6, 5  # of each recipe
TWELVE = ["-m", f"experiment={','.join(RECIPES)}", f"seed=range(0,{SEEDS})", f"trainer.max_epochs={EPOCHS}"]
SIXTY = ["sweep=hidden_by_optimizer"]


@dataclass(frozen=True)
class Sweep:
    """A way to run one: overrides for the train.py of a checkout, or none for plain Lightning."""

    jobs: int
    overrides: tuple[str, ...] = ()
    checkout: Path = PROJECT

    def turn(self) -> dict[str, Any]:
        """Seconds, and the median seconds of training a network by the widths of its hidden layers."""
        with tempfile.TemporaryDirectory() as folder:
            if self.overrides:
                where = [f"hydra.sweep.dir={folder}/sweep", "trainer.accelerator=cpu"]
                command = [str(self.checkout / "train.py"), *self.overrides, *where]
            else:
                jobs = [replace(recipe, epochs=EPOCHS) for recipe in RECIPES.values() for _ in range(SEEDS)]
                command = [str(HERE / "contestants.py"), "plain Lightning", *(json.dumps(asdict(job)) for job in jobs)]
            variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.checkout / "src")}
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], env=variables, check=True, capture_output=True)
            seconds = time.perf_counter() - started
            results = [json.loads(path.read_text()) for path in Path(folder, "sweep").glob("*/result.json")]
        assert len(results) == (self.jobs if self.overrides else 0), "not all jobs are complete"
        by_widths: dict[str, list[float]] = {}
        for result in results:
            by_widths.setdefault(str(result["config"]["model"]["hidden"]), []).append(result["fit_s"])
        return {"s": seconds, "fit_s": {widths: statistics.median(fit_s) for widths, fit_s in by_widths.items()}}


def measure(rounds: int, earlier: Path | None) -> dict[str, Any]:
    """All processors may be used. Nothing is run beforehand: what an earlier version compiles counts in round 1."""
    twelve = {
        "mlplab, in sequence": Sweep(12, (*TWELVE, "jobs=1")),
        "mlplab, all cores": Sweep(12, tuple(TWELVE)),
        "plain Lightning, in sequence": Sweep(12),
    }
    sixty = {"mlplab": Sweep(60, tuple(SIXTY))}
    if earlier:
        sixty["earlier mlplab"] = Sweep(60, tuple(SIXTY), earlier)
    return {"rounds": rounds, "twelve jobs": in_turn(twelve, rounds), "sixty jobs": in_turn(sixty, rounds)}


def in_turn(sweeps: dict[str, Sweep], rounds: int) -> dict[str, Any]:
    """The turns, and the ratios of their seconds to those of the first sweep in the same round."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in sweeps}
    for number in range(rounds):
        for name, sweep in sweeps.items():
            turns[name].append(sweep.turn())
            print(f"round {number + 1}, {name}, {sweep.jobs} jobs: {turns[name][-1]}", flush=True)
    first = next(iter(turns.values()))
    ratios = {
        name: [own["s"] / other["s"] for own, other in zip(taken, first, strict=True)] for name, taken in turns.items()
    }
    for name, found in ratios.items():
        seconds = statistics.median(turn["s"] for turn in turns[name])
        print(f"{name:30} {seconds:7.1f} s, {statistics.median(found):.2f} times")
    return {"turns": turns, "ratios": ratios}
