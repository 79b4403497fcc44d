import pytest
from scipy.stats import binomtest

from mlplab.model.significance import mcnemar, wilson


@pytest.mark.parametrize(("correct", "images"), [(9788, 10_000), (1, 3), (350, 360), (0, 20)])
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
    assert mcnemar(7, 1) == pytest.approx(2 * (1 + 8) / 256)
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
