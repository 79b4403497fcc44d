"""Pictures of a search, of made-up draws."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mlplab.search import charts
from mlplab.search.halving import Figure, Outcome
from mlplab.search.records import Drawn

RUNGS, TITLE = (3, 9, 27), "my_search, mnist, best validation 97.50 %"


def drawn(number: int) -> Drawn:
    values = {"optimizer.lr": f"{10 ** (-1 - number / 4):.4g}", "optimizer": ("adam", "sgd")[number % 2]}
    return Drawn(number, 0, 12, "", values, (), f"draw {number}", f"{number:016}", f"{number}", 10.0)


def outcome(number: int) -> Outcome:
    length = RUNGS[2] if number in (0, 5) else RUNGS[1] if number < 4 else RUNGS[0]
    accs = [0.9 + 0.075 * (1 - 1 / (epoch + number)) for epoch in range(1, length + 1)]
    return Outcome([Figure.of(acc, 1 - acc) for acc in accs], length == RUNGS[2], False, [1.0] * length)


TWELVE = [drawn(k) for k in range(12)], [outcome(k) for k in range(12)], RUNGS


def test_each_picture_has_the_title_of_the_search_and_a_note() -> None:
    figures = charts.draw(*TWELVE, {"optimizer.lr"}, TITLE)
    assert {"rungs.png", "space.png", "parallel.png"} <= set(figures)
    for figure in figures.values():
        title, note = (text.get_text() for text in figure.texts[:2])
        assert title == TITLE
        assert note
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        below = min(text.get_window_extent(canvas.get_renderer()).y0 for text in figure.texts[:2])
        assert all(axes.get_tightbbox(canvas.get_renderer()).y1 < below for axes in figure.axes)


@pytest.mark.parametrize(("monitor", "expected"), [("val/acc", 65.0), ("val/loss", 0.35)])
def test_a_paused_run_is_given_the_mean_gain_of_complete_ones(monitor: str, expected: float) -> None:
    """After the first epoch, one complete run rises from .50 to .70, the other from .60 to .70."""
    accs = ([0.5, 0.6, 0.7], [0.6, 0.65, 0.7], [0.4])
    figures = [[Figure.of(acc, 1 - acc, monitor) for acc in one] for one in accs]
    outcomes = [Outcome(one, len(one) == 3, seconds=[1.0] * len(one)) for one in figures]
    figure = charts.progress(TWELVE[0][:3], outcomes, (1, 3), TITLE)
    ours, dashed = figure.axes[0].get_lines()
    assert dashed.get_ydata()[0] == pytest.approx(expected)  # the mean of .70, .70 and .55
    assert list(ours.get_ydata()) == pytest.approx([70.0 if monitor == "val/acc" else 0.3])


def test_progress_is_drawn_of_runs_that_stopped_early() -> None:
    stopped = Outcome([Figure.of(0.5, 0.5)] * 2, True, False, [1.0] * 2)
    figure = charts.progress([drawn(0)], [stopped], (9,), TITLE)
    low, high = figure.axes[0].get_ylim()
    assert low < 0.5 < high


def test_curves_of_draws_begin_at_epoch_1() -> None:
    figure = charts.curves(*TWELVE[1:], TITLE)
    (axes,) = figure.axes
    assert 0 < axes.get_xlim()[0] < 1 == axes.get_xticks()[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
    assert [line.get_xdata()[0] for line in lines] == [1] * 12
    assert max(lines[0].get_ydata()) == pytest.approx(100 * max(outcome(0).figures).accuracy)


def test_a_panel_has_the_scale_on_which_its_key_is_drawn() -> None:
    """Draws on a linear scale may be far apart, too."""
    for keys, scale in (({"optimizer.lr"}, "log"), (set(), "linear")):
        panel = charts.values(*TWELVE, keys, TITLE).axes[0]
        assert (panel.get_xlabel(), panel.get_xscale()) == ("optimizer.lr", scale)
