"""The verdict: does a recipe reach the figure that was published for it?"""

import math

from measured import Measured
from recipe import TOLERANCE, Recipe

ROUNDING = 1e-9  # of percent
RULES = (
    "Test accuracy is mean ± standard deviation over n seeds; time is that of training one seed,"
    " the median and the range. Of five seeds, or three where one takes over 10 minutes: *reproduced* where the mean is"
    " not below the published figure, or the reference, by more than its standard deviation or 0.1 points (0.25 on"
    " Fashion-MNIST), whichever is more; *beaten* where it is above it by more than two standard errors, of both"
    " where the other is a mean of several runs; otherwise *short*. With fewer seeds it is *incomplete*."
)


def verdict(recipe: Recipe, entry: Measured) -> str:
    """Compare with what was published; empty where nothing was.

    Where that is itself a mean over several runs, a difference has the errors of both.
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
