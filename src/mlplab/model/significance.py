"""Chance in accuracies on a finite number of test images: an interval for one network, a test for two."""

import math
from statistics import NormalDist

from scipy.special import bdtr

CONFIDENCE = 0.95


def wilson(correct: int, images: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the confidence interval of an accuracy, as fractions of 1 (Wilson 1927, score interval).

    Raises:
        ValueError: unless 0 <= correct <= images, with at least one image.
    """
    if not 0 <= correct <= images or not images:
        raise ValueError(f"`correct` must be from 0 to `images`, at least 1, got {correct} of {images}")
    z, acc = NormalDist().inv_cdf((1 + confidence) / 2), correct / images
    middle = acc + z * z / (2 * images)
    reach = z * math.sqrt(acc * (1 - acc) / images + (z / (2 * images)) ** 2)
    scale = 1 + z * z / images
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p value of McNemar's exact test (McNemar 1947) of two classifiers on the same images.

    Where just one of two equally good classifiers is right, it is either of them with probability 1/2.

    Args:
        only_first: images that only the first classifies correctly.
        only_second: images that only the second does.
    """
    images = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), images, 0.5)))
