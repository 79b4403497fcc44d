from pathlib import Path

import pytest
from made_up import OPTIMIZERS, Sweep, config, result
from matplotlib.axes import Axes

from mlplab.plots import canvas
from mlplab.sweeps.report import Report, charts
from mlplab.sweeps.report.table import Table


def tick_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    Sweep(tmp_path).grid(range(3), model__hidden=[[], [64], [256, 256]], optimizer=OPTIMIZERS.values())
    return Report.of(tmp_path).table


def test_a_panel_for_each_factor_has_a_dot_for_each_run_and_the_means_of_the_levels(table: Table) -> None:
    figure = charts.factors(table)
    assert figure is not None
    assert {axes.get_xlabel(): tick_labels(axes) for axes in figure.axes} == {
        "hidden": ["none", "64", "256x256"],
        "optimizer": ["Adam", "RMSprop", "SGD"],
    }
    for axes in figure.axes:
        position = [column.name for column in table.columns].index(axes.get_xlabel())
        *dots, means = axes.get_lines()
        assert [len(line.get_ydata()) for line in dots] == [9, 9, 9]
        for label, line, mean in zip(tick_labels(axes), dots, means.get_ydata(), strict=True):
            accs = [
                100 * run.metrics["val/acc"]
                for configuration in table.configurations
                if table.columns[position].text(configuration.values[position]) == label
                for run in configuration.runs
            ]
            assert sorted(line.get_ydata()) == pytest.approx(sorted(accs))
            assert mean == pytest.approx(sum(accs) / len(accs))


def test_cells_of_the_heat_map_say_their_means_and_those_not_tried_a_dash(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    accs = {("Adam", 64): [0.95, 0.97], ("Adam", 128): [0.99], ("SGD", 64): [0.9]}
    for (optimizer, width), of_seeds in accs.items():
        for seed, acc in enumerate(of_seeds):
            sweep.add(result(config(seed=seed, model__hidden=[width], optimizer=OPTIMIZERS[optimizer]), acc))
    figure = charts.heatmap(Report.of(tmp_path).table)
    assert figure is not None
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("hidden", "optimizer")
    columns, rows = tick_labels(axes), [label.get_text() for label in axes.get_yticklabels()]
    cells = {
        (rows[int(text.get_position()[1])], columns[int(text.get_position()[0])]): text.get_text()
        for text in axes.texts
    }
    assert cells == {("Adam", "64"): "96.00", ("Adam", "128"): "99.00", ("SGD", "64"): "90.00", ("SGD", "128"): "-"}


def test_the_heat_map_has_the_two_factors_with_the_greatest_effect(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for size in (32, 64):
        for width in (128, 256):
            for epochs in (1, 2):
                acc = 0.9 + (size == 64) * 0.05 + (width == 256) * 0.001 + (epochs == 2) * 0.02
                of_run = config(data__batch_size=size, model__hidden=[width], trainer__max_epochs=epochs)
                sweep.add(result(of_run, acc))
    figure = charts.heatmap(Report.of(tmp_path).table)
    assert figure is not None
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("batch_size", "max_epochs")


def test_accuracy_by_time_has_a_mark_for_each_configuration_and_names_the_best_three(table: Table) -> None:
    figure = charts.accuracy_by_time(table)
    assert figure is not None
    (axes,) = figure.axes
    points = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.get_lines()]
    expected = [(of.fit_s, 100 * of.val_acc.mean) for of in table.configurations if of.val_acc]
    assert points == [pytest.approx(point) for point in expected]
    (legend,) = figure.legends
    names = [f"{place}: {table.text(table.configurations[place - 1])}" for place in (1, 2, 3)]
    assert [text.get_text() for text in legend.get_texts()] == names


def test_curves_are_of_the_best_and_the_median_run_with_the_best_epoch(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for width, acc, best in ((16, 0.91, 1), (32, 0.99, 4), (64, 0.93, 2), (128, 0.95, 3), (256, 0.97, 5)):
        sweep.add(result(config(model__hidden=[width]), acc, best_epoch=best))
    report = Report.of(tmp_path)
    figure = charts.curves(report.table)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes[:2]] == ["best run: 32, seed 0", "median run: 128, seed 0"]
    for column, (name, best) in enumerate((("001", 4), ("003", 3))):
        (run,) = [run for run in report.complete if run.name == name]
        for axes, metric, factor in ((figure.axes[column], "loss", 1), (figure.axes[2 + column], "acc", 100)):
            train, val, epoch = axes.get_lines()
            assert list(train.get_ydata()) == [factor * figures[f"train/{metric}"] for figures in run.history]
            assert list(val.get_ydata()) == [factor * figures[f"val/{metric}"] for figures in run.history]
            assert list(val.get_xdata()) == [1, 2, 3, 4, 5]
            assert list(epoch.get_xdata()) == [best, best]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation", "best epoch"]


def test_without_validation_there_is_nothing_to_draw(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for width in (64, 128):
        sweep.add(result(config(model__hidden=[width]), val_acc=None))
    assert charts.draw(Report.of(tmp_path).table) == {}


def test_one_configuration_has_no_factors(tmp_path: Path) -> None:
    Sweep(tmp_path).grid(range(2))
    assert list(charts.draw(Report.of(tmp_path).table)) == ["time.png", "curves.png"]


def test_names_are_drawn_as_text_and_not_as_formulas(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for activation in ("$x^$", "_a", "\u4e2d\u6587", "b" * 300, r"\$", "{x}", "%s"):
        sweep.add(result(config(model__activation=activation)))
    figures = charts.draw(Report.of(tmp_path).table)
    axes = figures["factors.png"].axes[0]
    assert tick_labels(axes) == [r"\$x^\$", "%s", r"\\$", "_a", f"{'b' * 11}...{'b' * 8}", "{x}", "??"]
    for figure in figures.values():
        assert canvas.png(figure).startswith(b"\x89PNG")


def test_of_many_levels_not_all_are_named(tmp_path: Path) -> None:
    Sweep(tmp_path).grid([0], model__hidden=[[width] for width in range(1, 101)])
    figure = charts.factors(Report.of(tmp_path).table)
    assert figure is not None
    labels = tick_labels(figure.axes[0])
    assert len(labels) <= charts.MOST_TICKS
    assert labels[:2] == ["1", "10"]
