from pathlib import Path

import pytest
from made_up import OPTIMIZERS, Sweep, config, result
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mlplab.plots import canvas
from mlplab.sweeps.report import Report, charts
from mlplab.sweeps.report.table import Table


def labels(axes: Axes, of: str = "x") -> list[str]:
    return [label.get_text() for label in (axes.get_xticklabels() if of == "x" else axes.get_yticklabels())]


TITLE = "my_sweep, mnist, best validation 98.00 %"


def heading(figure: Figure) -> list[str]:
    """Return the title of a page, and its note."""
    return [text.get_text() for text in figure.texts[:2]]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    Sweep(tmp_path).grid(range(3), model__hidden=[[], [64], [256, 256]], optimizer=OPTIMIZERS.values())
    return Report.of(tmp_path).table


def test_a_factor_has_a_dot_per_run_and_the_mean_of_each_level(table: Table) -> None:
    figure = charts.factors(table, TITLE)
    assert heading(figure) == [TITLE, "dots: runs; dashes: mean of each level"]
    assert {axes.get_xlabel(): labels(axes) for axes in figure.axes} == {
        "hidden": ["none", "64", "256x256"],
        "optimizer": ["Adam", "RMSprop", "SGD"],
    }
    for axes in figure.axes:
        position = [factor.name for factor in table.factors].index(axes.get_xlabel())
        *dots, means = axes.get_lines()
        assert means.get_linestyle() == "None"  # optimizers and depths have no order
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
    figure = charts.heatmap(Report.of(tmp_path).table, TITLE)
    axes = figure.axes[0]
    assert heading(figure)[0] == TITLE
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
    figure = charts.heatmap(Report.of(tmp_path).table, TITLE)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("batch_size", "max_epochs")


def test_only_numbers_are_joined_by_lines(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for width, batch_norm, size in ((64, True, 32), (128, False, 64), (256, True, 128)):
        tree = config(model__hidden=[width], model__batch_norm=batch_norm, data__batch_size=size)
        sweep.add(result(tree, 0.9 + width / 5000))
    figure = charts.factors(Report.of(tmp_path).table, TITLE)
    styles = {axes.get_xlabel(): axes.get_lines()[-1].get_linestyle() for axes in figure.axes}
    assert styles == {"hidden": "-", "batch_norm": "None", "batch_size": "-"}


def test_the_heading_names_sweep_data_and_the_best_figure(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    sweep.add(result(config(), 0.97))
    assert charts.heading("my_sweep", Report.of(tmp_path).table) == "my_sweep, mnist, best validation 97.00 %"
    other = config(model__hidden=[7])
    other["data"]["name"] = "fashion"
    sweep.add(result(other, 0.98))
    assert charts.heading("s", Report.of(tmp_path).table) == "s, fashion, mnist, best validation 98.00 %"


def test_accuracy_by_time_numbers_and_names_each_configuration(table: Table) -> None:
    figure = charts.accuracy_by_time(table, TITLE)
    (axes,) = figure.axes
    *lines, front = axes.get_lines()
    points = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]
    expected = [(of.fit_s, 100 * of.val_acc.mean) for of in table.configurations if of.val_acc]
    assert points == [pytest.approx(point) for point in expected]
    on_front = [one for one in expected if not any(s <= one[0] and acc > one[1] for s, acc in expected)]
    assert list(zip(front.get_xdata(), front.get_ydata(), strict=True)) == [
        pytest.approx(one) for one in sorted(on_front)
    ]
    title, note, *names = [text.get_text() for text in figure.texts]
    assert title == TITLE
    assert note.endswith("\nbelow: hidden, optimizer")
    assert names == [f"{rank}: {table.text(one)}" for rank, one in enumerate(table.configurations, 1)]
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        (str(rank), pytest.approx(point)) for rank, point in enumerate(expected, 1)
    ]


@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_numbers_of_dots_cover_neither_each_other_nor_a_dot(count: int, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for k in range(count):  # in a crowd, two in each place
        made = result(config(model__hidden=[16 + k]), 0.95 + 0.001 * (k // 2 % 8), fit_s=10.0 + 1.5 * (k // 2 % 5))
        sweep.add(made)
    figure = charts.accuracy_by_time(Report.of(tmp_path).table, TITLE)
    canvas_ = FigureCanvasAgg(figure)
    canvas_.draw()
    (axes,) = figure.axes
    boxes = [text.get_window_extent(canvas_.get_renderer()) for text in axes.texts]
    assert len(boxes) == count
    for k, box in enumerate(boxes):
        for other in boxes[k + 1 :]:
            assert (
                min(box.x1, other.x1) - max(box.x0, other.x0) < 2 or min(box.y1, other.y1) - max(box.y0, other.y0) < 3
            )
        for dot in axes.transData.transform([text.xy for text in axes.texts]):
            assert not (box.x0 < dot[0] < box.x1 and box.y0 + 2 < dot[1] < box.y1 - 2)


def test_beyond_sixty_configurations_the_best_are_named(tmp_path: Path) -> None:
    Sweep(tmp_path).grid([0], model__hidden=[[width] for width in range(1, 65)])
    figure = charts.accuracy_by_time(Report.of(tmp_path).table, TITLE)
    assert len(figure.axes[0].texts) == 60
    assert "the 4 without a number: report.csv" in heading(figure)[1]


def test_curves_show_the_best_run(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    best = result(config(model__hidden=[32]), 0.99, best_epoch=4)
    for one in (result(config(model__hidden=[16]), 0.91), best, result(config(model__hidden=[64]), 0.93)):
        sweep.add(one)
    figure = charts.curves_of_best(Report.of(tmp_path).table, TITLE)
    about = "loss and accuracy by epoch, best run by validation, 32, seed 0, test 96.00 %"
    assert heading(figure) == [TITLE, about]
    for axes, metric, factor in zip(figure.axes, ("loss", "acc"), (1, 100), strict=True):
        train, val, epoch = axes.get_lines()
        assert list(train.get_ydata()) == [factor * figures[f"train/{metric}"] for figures in best["history"]]
        assert list(val.get_ydata()) == [factor * figures[f"val/{metric}"] for figures in best["history"]]
        assert list(epoch.get_xdata()) == [4, 4]


def test_only_what_there_is_is_drawn(tmp_path: Path) -> None:
    Sweep(tmp_path / "alone").grid(range(2))
    assert list(charts.draw(Report.of(tmp_path / "alone").table, TITLE)) == ["time.png", "curves.png"]
    sweep = Sweep(tmp_path / "without validation")
    for width in (64, 128):
        sweep.add(result(config(model__hidden=[width]), val_acc=None))
    assert charts.draw(Report.of(sweep.folder).table, TITLE) == {}


def test_names_are_text_not_formulas(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    for activation in ("$x^$", "_a", "\u4e2d\u6587", "b" * 300, r"\$", "{x}", "%s"):
        sweep.add(result(config(model__activation=activation)))
    figures = charts.draw(Report.of(tmp_path).table, TITLE)
    axes = figures["factors.png"].axes[0]
    assert labels(axes) == [r"\$x^\$", "%s", r"\\$", "_a", f"{'b' * 11}...{'b' * 8}", "{x}", "??"]
    for figure in figures.values():
        assert canvas.png(figure).startswith(b"\x89PNG")


def test_only_some_of_many_levels_are_named(tmp_path: Path) -> None:
    Sweep(tmp_path).grid([0], model__hidden=[[width] for width in range(1, 101)])
    figure = charts.factors(Report.of(tmp_path).table, TITLE)
    assert labels(figure.axes[0]) == [str(width) for width in range(1, 101, 9)]
