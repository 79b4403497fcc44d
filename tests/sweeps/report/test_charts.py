from pathlib import Path

import pytest
from made_up import OPTIMIZERS, Sweep, config, result
from matplotlib.axes import Axes

from mlplab.plots import canvas
from mlplab.sweeps.report import Report, charts
from mlplab.sweeps.report.table import Table


def labels(axes: Axes, of: str = "x") -> list[str]:
    return [label.get_text() for label in (axes.get_xticklabels() if of == "x" else axes.get_yticklabels())]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    Sweep(tmp_path).grid(range(3), model__hidden=[[], [64], [256, 256]], optimizer=OPTIMIZERS.values())
    return Report.of(tmp_path).table


def test_a_factor_has_a_dot_per_run_and_the_mean_of_each_level(table: Table) -> None:
    figure = charts.factors(table)
    assert figure is not None
    assert {axes.get_xlabel(): labels(axes) for axes in figure.axes} == {
        "hidden": ["none", "64", "256x256"],
        "optimizer": ["Adam", "RMSprop", "SGD"],
    }
    for axes in figure.axes:
        position = [factor.name for factor in table.factors].index(axes.get_xlabel())
        *dots, means = axes.get_lines()
        assert means.get_linestyle() == ("-" if axes.get_xlabel() == "hidden" else "None")  # optimizers have no order
        for label, line, mean in zip(labels(axes), dots, means.get_ydata(), strict=True):
            accs = [
                100 * run.metrics["val/acc"]
                for configuration in table.configurations
                if table.factors[position].text(configuration.values[position]) == label
                for run in configuration.runs
            ]
            assert len(accs) == 9
            assert sorted(line.get_ydata()) == pytest.approx(sorted(accs))
            assert mean == pytest.approx(sum(accs) / len(accs))


def test_cells_of_the_heat_map_are_means_or_a_dash(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    accs = {("Adam", 64): [0.95, 0.97], ("Adam", 128): [0.99], ("SGD", 64): [0.9]}
    for (optimizer, width), of_seeds in accs.items():
        for seed, acc in enumerate(of_seeds):
            sweep.add(result(config(seed=seed, model__hidden=[width], optimizer=OPTIMIZERS[optimizer]), acc))
    figure = charts.heatmap(Report.of(tmp_path).table)
    assert figure is not None
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("hidden", "optimizer")
    places = {text.get_position(): text.get_text() for text in axes.texts}
    cells = {(labels(axes, "y")[int(y)], labels(axes)[int(x)]): text for (x, y), text in places.items()}
    assert cells == {("Adam", "64"): "96.00", ("Adam", "128"): "99.00", ("SGD", "64"): "90.00", ("SGD", "128"): "-"}


def test_the_heat_map_shows_the_two_strongest_factors(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for size in (32, 64):
        for width in (128, 256):
            for epochs in (1, 2):
                acc = 0.9 + (size == 64) * 0.05 + (width == 256) * 0.001 + (epochs == 2) * 0.02
                sweep.add(result(config(data__batch_size=size, model__hidden=[width], trainer__max_epochs=epochs), acc))
    figure = charts.heatmap(Report.of(tmp_path).table)
    assert figure is not None
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("batch_size", "max_epochs")


def test_accuracy_by_time_marks_configurations_and_names_three(table: Table) -> None:
    figure = charts.accuracy_by_time(table)
    assert figure is not None
    (axes,) = figure.axes
    *lines, front = axes.get_lines()
    points = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]
    expected = [(of.fit_s, 100 * of.val_acc.mean) for of in table.configurations if of.val_acc]
    assert points == [pytest.approx(point) for point in expected]
    on_front = [one for one in expected if not any(s <= one[0] and acc > one[1] for s, acc in expected)]
    assert list(zip(front.get_xdata(), front.get_ydata(), strict=True)) == [
        pytest.approx(one) for one in sorted(on_front)
    ]
    (legend,) = figure.legends
    names = [f"{rank}: {table.text(table.configurations[rank - 1])}" for rank in (1, 2, 3)]
    assert [text.get_text() for text in legend.get_texts()] == names


def test_curves_show_the_best_run(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    best = result(config(model__hidden=[32]), 0.99, best_epoch=4)
    for one in (result(config(model__hidden=[16]), 0.91), best, result(config(model__hidden=[64]), 0.93)):
        sweep.add(one)
    figure = charts.curves_of_best(Report.of(tmp_path).table)
    assert figure is not None
    assert "best run: 32, seed 0" in [text.get_text() for text in figure.texts]
    for axes, metric, factor in zip(figure.axes, ("loss", "acc"), (1, 100), strict=True):
        train, val, epoch = axes.get_lines()
        assert list(train.get_ydata()) == [factor * figures[f"train/{metric}"] for figures in best["history"]]
        assert list(val.get_ydata()) == [factor * figures[f"val/{metric}"] for figures in best["history"]]
        assert list(epoch.get_xdata()) == [4, 4]


def test_only_what_there_is_is_drawn(tmp_path: Path) -> None:
    Sweep(tmp_path / "alone").grid(range(2))
    assert list(charts.draw(Report.of(tmp_path / "alone").table)) == ["time.png", "curves.png"]
    sweep = Sweep(tmp_path / "without validation")
    for width in (64, 128):
        sweep.add(result(config(model__hidden=[width]), val_acc=None))
    assert charts.draw(Report.of(sweep.folder).table) == {}


def test_names_are_text_not_formulas(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for activation in ("$x^$", "_a", "\u4e2d\u6587", "b" * 300, r"\$", "{x}", "%s"):
        sweep.add(result(config(model__activation=activation)))
    figures = charts.draw(Report.of(tmp_path).table)
    axes = figures["factors.png"].axes[0]
    assert labels(axes) == [r"\$x^\$", "%s", r"\\$", "_a", f"{'b' * 11}...{'b' * 8}", "{x}", "??"]
    for figure in figures.values():
        assert canvas.png(figure).startswith(b"\x89PNG")


def test_only_some_of_many_levels_are_named(tmp_path: Path) -> None:
    Sweep(tmp_path).grid([0], model__hidden=[[width] for width in range(1, 101)])
    figure = charts.factors(Report.of(tmp_path).table)
    assert figure is not None
    assert labels(figure.axes[0]) == [str(width) for width in range(1, 101, 9)]
