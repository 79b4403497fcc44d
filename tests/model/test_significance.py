import math

import pytest
from scipy.stats import binomtest

from mlplab.model.significance import mcnemar, wilson


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_published_intervals(correct: int, images: int, low: float, high: float) -> None:
    assert wilson(correct, images) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(("correct", "images"), [(9788, 10_000), (1, 3), (350, 360)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys_score_interval(correct: int, images: int, confidence: float) -> None:
    expected = binomtest(correct, images).proportion_ci(confidence, method="wilson")
    assert wilson(correct, images, confidence) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize(("correct", "images"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_needs_images(correct: int, images: int) -> None:
    with pytest.raises(ValueError, match=rf"got {correct} of {images}"):
        wilson(correct, images)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (7, 1), (12, 30), (693, 581), (3000, 2000)])
def test_mcnemar_is_a_two_sided_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(7, 1) == 2 * (1 + 8) / 256
    assert mcnemar(6, 0) == 2 / 64
    assert math.isclose(mcnemar(2, 2), 1.0)
