"""The named sweep of tricks: its jobs, and the report of a small version."""

from collections import Counter
from pathlib import Path

import pytest
from conftest import PROJECT, Compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from made_up import Sweep, result

from mlplab.config.schema import Config
from mlplab.errors import ConfigError
from mlplab.sweeps import grid
from mlplab.sweeps.job import Job
from mlplab.sweeps.report import Report

TRICKS = sorted(path.stem for path in (PROJECT / "conf" / "ablation").glob("*.yaml"))
PARAMS = "hydra.sweeper.params"
OWN = {"flip": {"fashion"}, "affine": {"mnist"}, "elastic": {"mnist"}}


def jobs_of(*overrides: str) -> list[Job]:
    """Return the jobs, by default of one seed."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        loader: ConfigLoader = GlobalHydra.instance().config_loader()
        name = "hydra.job.config_name=config"  # which Hydra notes where a program is started
        composed = loader.load_configuration(
            "config", ["sweep=tricks", name, f"{PARAMS}.seed=0", *overrides], RunMode.MULTIRUN
        )
        arguments = [f"{key}={values}" for key, values in composed.hydra.sweeper.params.items()]
        return grid.jobs(composed, loader, [*arguments, "sweep=tricks"])


def test_the_sweep_has_each_trick_where_it_makes_sense(composed: Compose) -> None:
    jobs = [dict(override.split("=", 1) for override in job.overrides) for job in jobs_of()]
    assert Counter((job["data"], job["ablation"], job["seed"]) for job in jobs) == {
        (data, trick, "0"): 1 for trick in TRICKS for data in OWN.get(trick, {"mnist", "fashion"})
    }
    assert composed("sweep=tricks").model.hidden == (512, 512)


CHANGES: dict[str, dict[str, object]] = {
    "plain": {},
    "dropout": {"model.dropout": (0.2,)},
    "input_dropout": {"regularization.input_dropout": 0.2},
    "batch_norm": {"model.batch_norm": True},
    "input_noise": {"regularization.input_noise": 0.97},
    "hidden_noise": {"regularization.hidden_noise": 0.3},
    "label_smoothing": {"regularization.label_smoothing": 0.1},
    "mixup": {"regularization.mixup": 0.2},
    "max_norm": {"regularization.max_norm": 1.5},
    "ema": {"regularization.averaging": "ema"},
    "swa": {"regularization.averaging": "swa"},
    "warmup": {"scheduler.interval": "step", "scheduler.warmup": 500},
    "shift": {"regularization.shift": 2},
    "flip": {"regularization.flip": 0.5},
    "affine": {"regularization.rotation": 15.0, "regularization.scale": (0.85, 1.15), "regularization.shear": 15.0},
    "elastic": {"regularization.elastic_alpha": 34.0},
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_changes_one_thing(composed: Compose, trick: str) -> None:
    def settings(config: Config) -> dict[str, object]:
        tree = config.model_dump()
        sections = {key: value if isinstance(value, dict) else {"": value} for key, value in tree.items()}
        return {f"{key}.{name}": value for key, section in sections.items() for name, value in section.items()}

    plain, one = (settings(composed("sweep=tricks", f"ablation={name}")) for name in ("plain", trick))
    changed = {key: one.get(key) for key in one.keys() | plain.keys() if one.get(key) != plain.get(key)}
    assert changed == CHANGES[trick] | ({} if trick == "plain" else {"trick.": trick})


def test_a_grid_leaves_out_what_it_is_told_to() -> None:
    three = f"{PARAMS}.ablation='plain,ema,swa'"
    with pytest.raises(ConfigError, match="no combination of the grid remains"):
        jobs_of(three, "sweep_without=['data=mnist,fashion']")
    left = jobs_of(three, "sweep_without='data=mnist ablation=ema,swa'")
    words = (
        "data=fashion ablation=ema, data=fashion ablation=plain, data=fashion ablation=swa, data=mnist ablation=plain"
    )
    assert sorted(" ".join(job.overrides[:2]) for job in left) == words.split(", ")
    with pytest.raises(ConfigError, match="must be key=value pairs with keys of the grid, got 'trik=ema'"):
        jobs_of(three, "sweep_without=['trik=ema']")


def test_the_report_of_the_sweep_compares_tricks_with_none(composed: Compose, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for job in jobs_of(f"{PARAMS}.ablation='plain,ema,flip'", f"{PARAMS}.seed='0,1'"):
        sweep.add(result(composed(*job.overrides).recorded))
    Report.of(tmp_path).write(pictures=False)
    report = (tmp_path / "report.md").read_text()
    rows = [line.split(" | ")[:2] for line in report.partition("## Against plain")[2].splitlines() if line[:2] == "| "]
    assert sorted(rows[2:]) == [["| ema", "fashion"], ["| ema", "mnist"], ["| flip", "fashion"]]
