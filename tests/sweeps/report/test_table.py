import os
import statistics
from pathlib import Path
from typing import Any

import pytest
from made_up import OPTIMIZERS, Sweep, config, result

from mlplab.sweeps.report import Report
from mlplab.sweeps.report.table import Spread, Table


def table_of(folder: Path) -> Table:
    return Report.of(folder).table


def test_seeds_are_merged_into_mean_sd_and_n(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    val, test = [0.971, 0.975, 0.964], [0.951, 0.95, 0.959]
    for seed, (val_acc, test_acc) in enumerate(zip(val, test, strict=True)):
        sweep.add(result(config(seed=seed), val_acc, test_acc, fit_s=1.0 + seed, images_per_s=100.0 * seed))
    (configuration,) = table_of(tmp_path).configurations
    assert configuration.val_acc == Spread(statistics.fmean(val), statistics.stdev(val), 3)
    assert configuration.test_acc == Spread(statistics.fmean(test), statistics.stdev(test), 3)
    assert (configuration.fit_s, configuration.images_per_s) == (2.0, 100.0)
    assert [run.seed for run in configuration.runs] == [0, 1, 2]


def test_ranked_by_validation_and_never_by_test(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    accs = {16: (0.95, 0.97), 32: (0.97, 0.91), 64: (0.96, 0.99), 128: (None, 1.0)}
    for width, (val_acc, test_acc) in accs.items():
        sweep.add(result(config(model__hidden=[width]), val_acc, test_acc))
    table = table_of(tmp_path)
    assert [configuration.values for configuration in table.configurations] == [((32,),), ((64,),), ((16,),), ((128,),)]
    assert [configuration.values for configuration in table.validated] == [((32,),), ((64,),), ((16,),)]
    assert table.notes == ("Last and not ranked, without validation: 1 configuration.",)


def test_equal_accuracies_are_sorted_by_their_settings(tmp_path: Path) -> None:
    """A width and a list with this width are the same."""
    sweep = Sweep(tmp_path)
    widths: list[Any] = [[512, 512], [1024], [64], [], [8, 8]]
    for hidden in widths:
        sweep.add(result(config(model__hidden=hidden)))
    sweep.add(result(config(seed=1, model__hidden=64)))
    found = [(configuration.values[0], len(configuration.runs)) for configuration in table_of(tmp_path).configurations]
    assert found == [((), 1), ((64,), 2), ((1024,), 1), ((8, 8), 1), ((512, 512), 1)]


@pytest.mark.parametrize(
    ("varied", "factors"),
    [
        (
            {"model__hidden": [[64], [128, 128]], "trainer__max_epochs": [5, 20], "data__root": ["a", "b"]},
            {"model.hidden": "hidden", "trainer.max_epochs": "max_epochs"},
        ),
        ({"optimizer": OPTIMIZERS.values()}, {"optimizer.name": "optimizer"}),  # not what one brings along
        (
            {"optimizer": [*OPTIMIZERS.values(), OPTIMIZERS["SGD"] | {"lr": 0.5}]},
            {"optimizer.name": "optimizer", "optimizer.lr": "lr"},
        ),
        (
            {"early_stopping__patience": [1, 2], "optimizer__patience": [1, 2], "data__val_size": [100, 200]},
            {name: name for name in ("early_stopping.patience", "optimizer.patience")} | {"data.val_size": "val_size"},
        ),
    ],
)
def test_settings_that_vary_are_factors_and_the_seed_never_is(
    tmp_path: Path, varied: dict[str, Any], factors: dict[str, str]
) -> None:
    Sweep(tmp_path).grid(range(2), **varied)
    table = table_of(tmp_path)
    assert {factor.key: factor.name for factor in table.factors} == factors
    if "data__root" in varied:
        texts = {table.text(configuration) for configuration in table.configurations}
        assert texts == {"64, 5", "64, 20", "128x128, 5", "128x128, 20"}


def test_the_newest_of_repeated_runs_counts(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for acc, age in ((0.95, 100), (0.97, 0), (0.99, 50)):
        path = sweep.add(result(config(), acc)) / "result.json"
        os.utime(path, (10**9 - age, 10**9 - age))
    table = table_of(tmp_path)
    assert [configuration.val_acc for configuration in table.configurations] == [Spread(0.97, None, 1)]
    assert table.notes == ("Not counted, because a newer run has the same settings and seed: 2 runs.",)


@pytest.mark.parametrize(
    ("earlier", "note"),
    [
        ([], ""),
        ([{"torch": "2.11.0"}], ""),
        (
            [{"torch": "2.9.0", "code": "aaa"}, {"torch": "2.10.0", "code": "bbb"}],
            "2 runs were begun and finished with different versions: code aaa, torch 2.10.0, torch 2.9.0.",
        ),
    ],
)
def test_mixed_versions_are_noted(earlier: list[dict[str, str]], note: str, tmp_path: Path) -> None:
    """Mixed versions can come from several runs, or from resumed ones."""
    sweep = Sweep(tmp_path)
    for width in (64, 128):
        versions = {"torch": "2.11.0", "code": "bbb"}
        sweep.add(result(config(model__hidden=[width]), versions=versions, earlier_versions=earlier))
    assert table_of(tmp_path).notes == ((note,) if note else ())
    sweep.add(result(config(seed=1), versions={"torch": "2.12.0", "code": "ccc"}))
    sweep.add(result(config(seed=2), versions={"torch": "2.12.0"}))
    assert table_of(tmp_path).notes[:2] == (
        "Several versions of mlplab's code are mixed: bbb (2 runs), ccc (1 run), unknown (1 run).",
        "Several versions of torch are mixed: 2.11.0 (2 runs), 2.12.0 (2 runs).",
    )
