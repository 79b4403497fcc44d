"""Pictures of a search: its progress, and the accuracy of its draws by epoch and by value."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlplab.plots import canvas
from mlplab.plots.canvas import BLUE, GREY, ORANGE, PALE, VERMILION, label
from mlplab.search import halving
from mlplab.search.halving import Figure, Outcome, Rules
from mlplab.search.records import Drawn
from mlplab.search.values import numbers

if TYPE_CHECKING:  # matplotlib takes half a second, and a report without pictures does not need it
    from matplotlib.axes import Axes

MOST_PANELS, MOST_LABELS, LONGEST_LABEL = 9, 8, 14
BEST = 4  # one draw in so many, the best, is a line of the parallel coordinates
VAL_ACC = "validation accuracy (%)"


def draw(
    drawn: Sequence[Drawn],
    outcomes: Sequence[Outcome],
    rungs: Sequence[int],
    log_scales: Collection[str],
    title: str,
) -> "dict[str, canvas.Figure]":
    """Draw the pictures for which there is enough data, by file name; `log_scales` are keys."""
    if not any(one.figures for one in outcomes):
        return {}
    found = {
        "progress.png": progress(drawn, outcomes, rungs, title),
        "rungs.png": curves(outcomes, rungs, title),
        "space.png": values(drawn, outcomes, rungs, log_scales, title),
        "parallel.png": parallel(drawn, outcomes, log_scales, title),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def progress(
    drawn: Sequence[Drawn], outcomes: Sequence[Outcome], rungs: Sequence[int], title: str
) -> "canvas.Figure | None":
    """Draw the best complete run so far, by epochs and by minutes, beside random search over the same draws.

    Its figure is that by which runs are compared: the validation loss, or the accuracy.
    """
    steps = list(_best_so_far(drawn, outcomes, rungs))
    if not steps:
        return None
    note = (
        "best complete run so far\n"
        "dashed: expected for complete runs in random order; paused ones are given the mean gain of the others"
    )
    figure = canvas.page(title, 3.2, note, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    ranked = [_compared(figure) for figure in sorted(_whole_runs(outcomes, rungs[-1]))]  # the best last
    complete_s = rungs[-1] * fmean(seconds for one in outcomes for seconds in one.seconds)
    for axes, place, unit in zip(panels, (0, 1), (rungs[-1], complete_s / 60), strict=True):
        ends = [step[place] for step in steps]
        axes.step(ends, [step[2] for step in steps], where="post", color=VERMILION, label="this search")
        runs = range(1, max(1, min(len(ranked), int(ends[-1] / unit))) + 1)
        expected = [_expected_best(ranked, number) for number in runs]
        axes.plot([unit * number for number in runs], expected, "--", color=GREY, label="random search")
        axes.set_xlabel(("epochs of training", "minutes of training on one core")[place])
        canvas.style(axes, "both")
    shown = ranked[-1], steps[0][2], expected[min(2, len(expected) - 1)]
    margin = 0.05 * (max(shown) - min(shown)) or 0.05
    panels[0].set_ylim(min(shown) - margin, max(shown) + margin)
    is_loss = any(one.figures and one.figures[0].score != one.figures[0].accuracy for one in outcomes)
    panels[0].set_ylabel("validation loss" if is_loss else VAL_ACC)
    panels[0].legend(fontsize=8, loc="upper right" if is_loss else "lower right")
    return figure


def _compared(figure: Figure) -> float:
    """Return the accuracy in percent, or the loss: whichever runs are compared by."""
    return 100 * figure.score if figure.score == figure.accuracy else -figure.score


def _whole_runs(outcomes: Sequence[Outcome], epochs: int) -> Iterator[Figure]:
    """Yield the best figure of each run; a paused one is credited with the mean gain of complete ones from then on."""
    complete = [one.figures for one in outcomes if len(one.figures) == epochs]
    for one in outcomes:
        if one.figures:
            best, known = max(one.figures), len(one.figures)
            if complete and not (one.has_ended or one.has_failed):
                pairs = [zip(max(figures[:known]), max(figures), strict=True) for figures in complete]
                gains = zip(*([late - early for early, late in pair] for pair in pairs), strict=True)
                best = Figure(*(value + fmean(gain) for value, gain in zip(best, gains, strict=True)))
            yield best


def _best_so_far(
    drawn: Sequence[Drawn], outcomes: Sequence[Outcome], rungs: Sequence[int]
) -> Iterator[tuple[float, float, float]]:
    """Yield epochs, minutes and the best run's figure so far, after each run that completes."""
    rules = Rules(tuple(rungs), 1, waves=1 + max(one.wave for one in drawn))
    epochs, seconds, best = 0, 0.0, Figure(-math.inf, 0.0, 0.0)
    for wave in halving.waves(rules, [one.draw for one in drawn], outcomes.__getitem__):
        for piece in wave.pieces:
            became, before = outcomes[piece.draw], rungs[piece.rung - 1] if piece.rung else 0
            part = became.seconds[before : rungs[piece.rung]]
            epochs, seconds = epochs + len(part), seconds + sum(part)
            figure = became.at(rungs[-1])
            if piece.rung == len(rungs) - 1 and figure is not None:
                best = max(best, figure)
                yield epochs, seconds / 60, _compared(best)


def _expected_best(ranked: Sequence[float], number: int) -> float:
    """Return the expected best of `number` out of these values, the best last (Dodge et al. 2019, arXiv:1909.03004)."""
    ways = math.comb(len(ranked), number)
    return sum(value * math.comb(below, number - 1) / ways for below, value in enumerate(ranked))


def parallel(
    drawn: Sequence[Drawn], outcomes: Sequence[Outcome], log_scales: Collection[str], title: str
) -> "canvas.Figure | None":
    """Draw a line for each draw of the best quarter through its values; it has a gap where a key was not drawn."""
    keys = list(dict.fromkeys(key for one in drawn for key in one.values))
    tried = [
        (100 * max(became.figures).accuracy, one.values)
        for one, became in zip(drawn, outcomes, strict=True)
        if became.figures
    ]
    best = sorted(tried, key=lambda pair: pair[0])[-max(1, len(tried) // BEST) :]
    if len(keys) < 2 or len(best) < 2:
        return None
    accs = [acc for acc, _ in best]
    note = f"the best {len(best)} of {len(tried)} draws, {accs[0]:.2f} (pale) to {accs[-1]:.2f} % (dark)"
    figure = canvas.page(title, 3.4, note, layout="constrained")
    axes = figure.add_subplot()
    texts = {key: [one.values[key] for one in drawn if key in one.values] for key in keys}
    scales = [_Scale.of(key, texts[key], key in log_scales) for key in keys]
    for acc, chosen in best:
        places = [scale.place(chosen.get(scale.key)) for scale in scales]
        share = (acc - accs[0]) / ((accs[-1] - accs[0]) or 1)
        axes.plot(range(len(keys)), places, "o-", color=_shade(share), markersize=3, linewidth=0.8 + share, alpha=0.8)
    for position, scale in enumerate(scales):
        axes.axvline(position, color=PALE, linewidth=0.8, zorder=0)
        for place, text in scale.ticks():
            axes.text(position + 0.03, place, text, fontsize=7, color="#444444")
    axes.set_xticks(range(len(keys)), [label(key) for key in keys], fontsize=8)
    axes.set(yticks=[], xlim=(-0.1, len(keys) - 0.6), ylim=(-0.05, 1.08))
    axes.spines[:].set_visible(False)
    return figure


@dataclass(frozen=True)
class _Scale:
    """The upright axis of a key, from 0 to 1."""

    key: str
    names: Sequence[str]  # the values of a key that is not a range
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False

    @classmethod
    def of(cls, key: str, texts: Sequence[str], is_log: bool) -> "_Scale":
        found, names = numbers(texts), _in_order(texts)
        if not found or len(names) <= MOST_LABELS // 2:
            return cls(key, names)
        return cls(key, (), min(found), max(found), is_log)

    def place(self, text: str | None) -> float:
        if text is None:
            return math.nan
        if self.names:
            return self.names.index(text) / max(1, len(self.names) - 1)
        low, high, number = self.low, self.high, float(text)
        if self.is_log:
            low, high, number = math.log(low), math.log(high), math.log(number)
        return (number - low) / ((high - low) or 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield the places of ticks, and their texts."""
        if self.names:
            yield from ((self.place(name), label(name, LONGEST_LABEL)) for name in self.names)
        else:
            yield from ((self.place(str(end)), f"{end:.3g}") for end in (self.low, self.high))


def _shade(share: float) -> tuple[float, float, float]:
    """Return a blue, darker for a greater share."""
    return 0.75 * (1 - share), 0.85 - 0.41 * share, 0.95 - 0.25 * share


def curves(outcomes: Sequence[Outcome], rungs: Sequence[int], title: str) -> "canvas.Figure":
    """Draw the accuracy of each draw by epoch: thin if it was not continued, red for the best complete one."""
    paused = sum(not one.has_ended for one in outcomes)
    note = f"{len(outcomes)} draws; thin: the {paused} that were paused; red: the best, with one seed"
    figure = canvas.page(title, 3.6, note, layout="constrained")
    axes = figure.add_subplot()
    complete = [one for one in outcomes if one.has_ended and one.figures]
    best = max(complete, key=lambda one: max(one.figures), default=None)
    for one in outcomes:
        is_best = one is best
        color, width = (VERMILION, 2.2) if is_best else (BLUE, 1.1) if one.has_ended else (GREY, 0.5)
        accs = [100 * figure.accuracy for figure in one.figures]
        axes.plot(range(1, len(accs) + 1), accs, color=color, linewidth=width, zorder=3 if is_best else 2)
        if len(accs) == 1:
            axes.plot([1], accs, "_", color=color, markersize=5)
    for rung in rungs[:-1]:
        axes.axvline(rung, color=PALE, linewidth=0.8, zorder=1)
    _zoom(axes, [figure for one in outcomes for figure in one.figures])
    canvas.epochs(axes, max(len(one.figures) for one in outcomes))
    axes.set_ylabel(VAL_ACC)
    canvas.style(axes, "y")
    return figure


def values(
    drawn: Sequence[Drawn],
    outcomes: Sequence[Outcome],
    rungs: Sequence[int],
    log_scales: Collection[str],
    title: str,
) -> "canvas.Figure | None":
    """Draw a panel for each key of the space: accuracy against value of each draw, coloured by the rung reached."""
    keys = list(dict.fromkeys(key for one in drawn for key in one.values))[:MOST_PANELS]
    if not keys:
        return None
    across = min(len(keys), 3)
    down = math.ceil(len(keys) / across)
    note = f"grey: trained to epoch {rungs[0]}; orange: beyond; blue: complete"
    figure = canvas.page(title, 0.2 + 2.4 * down, note, layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, key in zip(panels.flat, keys, strict=False):
        pairs = zip(drawn, outcomes, strict=True)
        found = [(one.values[key], became) for one, became in pairs if key in one.values]
        _panel(axes, key, found, rungs, key in log_scales)
    _zoom(panels.flat[0], [max(one.figures) for one in outcomes if one.figures])
    for axes in panels[:, 0]:
        axes.set_ylabel(VAL_ACC)
    for axes in panels.flat[len(keys) :]:
        axes.remove()
    return figure


def _panel(axes: "Axes", key: str, found: Sequence[tuple[str, Outcome]], rungs: Sequence[int], is_log: bool) -> None:
    texts = [text for text, _ in found]
    places, names = numbers(texts), _in_order(texts)
    if not (is_numeric := bool(places) and len(names) > MOST_LABELS // 2):
        places = [names.index(text) for text in texts]
    for (_, became), place in zip(found, places, strict=True):
        if became.figures:
            length = len(became.figures)
            color = BLUE if became.has_ended else ORANGE if length > rungs[0] else GREY
            size = 3 + 1.5 * sum(length >= rung for rung in rungs[1:])
            style: dict[str, Any] = {"color": color, "markersize": size, "alpha": 0.7, "markeredgewidth": 0}
            axes.plot([place], [100 * max(became.figures).accuracy], "o", **style)
    if not is_numeric:
        axes.set_xticks(range(len(names)), [label(name, LONGEST_LABEL) for name in names], fontsize=7)
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif is_log:
        axes.set_xscale("log")
    axes.set_xlabel(label(key))
    canvas.style(axes, "y")


def _zoom(axes: "Axes", figures: Sequence[Figure]) -> None:
    """Limit the axis to the upper three quarters of all values, because the worst draws would compress the others."""
    accs = sorted(100 * figure.accuracy for figure in figures)
    low, high = accs[len(accs) // 4], accs[-1]
    margin = max(0.05, 0.06 * (high - low))
    axes.set_ylim(low - margin, high + margin)


def _in_order(texts: Sequence[str]) -> list[str]:
    return sorted(set(texts), key=lambda text: (numbers([text]) or [0.0], text))
