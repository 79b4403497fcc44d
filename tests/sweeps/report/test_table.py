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


def add_widths(sweep: Sweep, **more: Any) -> None:
    for width in (64, 128):
        sweep.add(result(config(model__hidden=[width]), **more))


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


def test_one_seed_has_no_sd() -> None:
    assert Spread.of([0.5]) == Spread(0.5, None, 1)


def test_ranked_by_validation_and_never_by_test(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    accs = {16: (0.95, 0.97), 32: (0.97, 0.91), 64: (0.96, 0.99), 128: (None, 1.0)}
    for width, (val_acc, test_acc) in accs.items():
        sweep.add(result(config(model__hidden=[width]), val_acc, test_acc))
    table = table_of(tmp_path)
    assert [configuration.values for configuration in table.configurations] == [((32,),), ((64,),), ((16,),), ((128,),)]
    assert [configuration.values for configuration in table.validated] == [((32,),), ((64,),), ((16,),)]
    assert table.notes == ("Last and not ranked, as it has no validation: 1 configuration.",)


def test_equal_accuracies_are_sorted_by_their_settings(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    widths: list[Any] = [[512, 512], [1024], [64], [], [8, 8]]
    for hidden in widths:
        sweep.add(result(config(model__hidden=hidden)))
    found = [configuration.values[0] for configuration in table_of(tmp_path).configurations]
    assert found == [(), (64,), (1024,), (8, 8), (512, 512)]


def test_settings_that_vary_are_factors_and_the_seed_never_is(tmp_path: Path) -> None:
    Sweep(tmp_path).grid(range(2), model__hidden=[[64], [128, 128]], trainer__max_epochs=[5, 20], data__root=["a", "b"])
    table = table_of(tmp_path)
    assert [(factor.key, factor.name) for factor in table.factors] == [
        ("model.hidden", "hidden"),
        ("trainer.max_epochs", "max_epochs"),
    ]
    assert {table.text(configuration) for configuration in table.configurations} == {
        "64, 5",
        "64, 20",
        "128x128, 5",
        "128x128, 20",
    }


def test_what_an_optimizer_brings_along_is_no_factor(tmp_path: Path) -> None:
    Sweep(tmp_path).grid(range(2), optimizer=OPTIMIZERS.values())
    assert [(factor.key, factor.name) for factor in table_of(tmp_path).factors] == [("optimizer.name", "optimizer")]


def test_a_rate_that_varies_with_one_optimizer_is_a_factor(tmp_path: Path) -> None:
    faster = OPTIMIZERS["SGD"] | {"lr": 0.5}
    Sweep(tmp_path).grid(range(2), optimizer=[*OPTIMIZERS.values(), faster])
    assert [factor.name for factor in table_of(tmp_path).factors] == ["optimizer", "lr"]


def test_keys_with_one_short_name_are_told_apart(tmp_path: Path) -> None:
    Sweep(tmp_path).grid([0], early_stopping__patience=[1, 2], optimizer__patience=[1, 2], data__val_size=[100, 200])
    names = [factor.name for factor in table_of(tmp_path).factors]
    assert names == ["early_stopping.patience", "val_size", "optimizer.patience"]


def test_a_number_and_the_list_of_it_are_one_width(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for seed, hidden in enumerate((64, [64])):
        sweep.add(result(config(seed=seed, model__hidden=hidden)))
    (configuration,) = table_of(tmp_path).configurations
    assert len(configuration.runs) == 2


def test_the_newest_of_repeated_runs_counts(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for acc, age in ((0.95, 100), (0.97, 0), (0.99, 50)):
        path = sweep.add(result(config(), acc)) / "result.json"
        os.utime(path, (10**9 - age, 10**9 - age))
    table = table_of(tmp_path)
    assert [configuration.val_acc for configuration in table.configurations] == [Spread(0.97, None, 1)]
    assert table.notes == ("Not counted, as a newer run has the same settings and seed: 2 runs.",)


def test_mixed_versions_are_noted(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    add_widths(sweep, versions={"torch": "2.11.0", "code": "aaa"})
    sweep.add(result(config(seed=1), versions={"torch": "2.12.0", "code": "bbb"}))
    sweep.add(result(config(seed=2), versions={"torch": "2.12.0"}))
    assert table_of(tmp_path).notes == (
        "Several versions of mlplab's code are mixed: aaa (2 runs), bbb (1 run), unknown (1 run).",
        "Several versions of torch are mixed: 2.11.0 (2 runs), 2.12.0 (2 runs).",
    )


@pytest.mark.parametrize(
    ("earlier", "others"),
    [
        ([], ()),
        ([{"torch": "2.11.0"}], ()),
        (
            [{"torch": "2.9.0", "code": "aaa"}, {"torch": "2.10.0", "code": "bbb"}],
            ("code aaa, torch 2.10.0, torch 2.9.0",),
        ),
    ],
)
def test_runs_resumed_with_other_versions_are_noted(
    earlier: list[dict[str, str]], others: tuple[str, ...], tmp_path: Path
) -> None:
    versions = {"torch": "2.11.0", "code": "bbb"}
    add_widths(Sweep(tmp_path), versions=versions, earlier_versions=earlier)
    assert table_of(tmp_path).notes == tuple(
        f"2 runs began with other versions than they ended with: {text}." for text in others
    )
