"""The verdict: whether a recipe reaches its published figure."""

import math

from measured import Measured
from recipe import TOLERANCE, Recipe

ROUNDING = 1e-9  # of percent
RULES = (
    "Test accuracy is mean ± standard deviation over n seeds; time is median and range of the training time of a seed."
    " A recipe needs five seeds, or three if one takes over 10 minutes; with fewer it is *incomplete*."
    " *Reproduced*: the mean is not below the published figure or the reference by more than its standard deviation,"
    " two standard errors or 0.1 points (0.25 on Fashion-MNIST), whichever is largest."
    " *Beaten*: it is above that figure by more than two standard errors, of both if the figure is a mean of several"
    " runs. Otherwise it is *short*."
)


def verdict(recipe: Recipe, entry: Measured) -> str:
    """Compare with the published figure; empty if there is none.

    If that is itself a mean over several runs, the difference has the errors of both.
    """
    source = recipe.published
    if source.accuracy is None:
        return ""
    found, published = entry.percent, float(source.accuracy)
    if found.sd is None:
        return f"one run, {_beside(published, found.mean)}"
    if found.n < entry.wanted:
        return "incomplete"
    its_error = float(source.sd or 0) / math.sqrt(source.n or 1)
    noise = 2 * math.hypot(found.sd / math.sqrt(found.n), its_error)
    if found.mean - noise > published + ROUNDING:
        return "beaten"
    if found.mean >= published - max(noise, found.sd, TOLERANCE[recipe.data]) - ROUNDING:
        return "reproduced"
    return f"short by {published - found.mean:.3f}"  # 0.104 is more than 0.10


def _beside(published: float, once: float) -> str:
    if abs(once - published) < ROUNDING:
        return "the same"
    return "above" if once > published else f"short by {published - once:.2f}"
