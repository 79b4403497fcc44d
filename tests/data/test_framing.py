import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_digits import KINDS, STROKES, Bytes, Random, ink, on, slope

from mlplab.data import datasets, framing
from mlplab.data.image_dataset import DatasetInfo

INFO = DatasetInfo(
    image_shape=(1, 28, 28), classes=tuple("0123456789"), mean=0.13, std=0.31, object_size=20, centred_by_mass=True
)


def _alike(one: Bytes, other: Bytes) -> float:
    """Return the correlation of two images, shifted by up to one pixel for the best fit."""
    moved = (np.roll(other, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
    return max(float(np.corrcoef(one.ravel(), image.ravel())[0, 1]) for image in moved)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_digit_on_any_ground_looks_as_on_a_clean_one(kind: Callable[[int, Random], Bytes]) -> None:
    likeness = []
    for digit in STROKES:
        found = framing.things(kind(digit, np.random.default_rng([2, digit])), INFO)
        likeness.append(_alike(found[0].image, _clean(digit)) if len(found) == 1 else 0.0)
    assert sorted(likeness)[1] > 0.7, np.round(likeness, 2)  # all but one


@functools.cache
def _clean(digit: int) -> Bytes:
    upright = np.random.default_rng(0)
    (thing,) = framing.things(on(255, ink(digit, upright, (120, 120), 7), 0, upright, noise=0), INFO)
    return thing.image


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_test_images_are_left_as_they_are(ground: str) -> None:
    dataset = datasets.load("digits", Path())
    for image in dataset.test_images[:, 0].numpy():
        (thing,) = framing.things(image if ground == "dark" else 255 - image, dataset.info)
        assert np.array_equal(thing.image, image)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_nothing_is_in_an_empty_picture(value: int) -> None:
    picture = np.full((300, 200), value, dtype=np.uint8)
    assert framing.things(picture, INFO) == []
    picture[100:110] += 3 if value < 255 else 0
    assert framing.things(picture, INFO) == []


@pytest.mark.parametrize(("shape", "noise"), [((480, 640), 3), ((28, 28), 6), ((60, 60), 20), ((300, 400), 80)])
def test_nothing_is_on_blank_paper(shape: tuple[int, int], noise: float) -> None:
    found = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        light = slope(shape[::-1], 110, 215, random) if seed % 2 and max(shape) > 28 else 190.0
        found += bool(framing.things(on(light, np.zeros(shape), 0, random, noise), INFO))
    assert found <= (max(shape) == 28)  # of so few pixels some may look like more


def test_small_pieces_belong_to_what_is_below_them() -> None:
    """A five with a separate upper line is one thing."""
    picture = np.full((300, 300), 255, dtype=np.uint8)
    picture[60:72, 110:190] = 0
    picture[85:240, 110:122] = 0
    (_,) = framing.things(picture, INFO)


def test_lines_of_a_page_are_apart() -> None:
    random = np.random.default_rng(1)
    line = np.concatenate([on(230, ink(digit, random, (70, 110), 6, share=0.7), 20, random) for digit in (3, 0, 2)], 1)
    assert len(framing.things(np.concatenate([line, line]), INFO)) == 6


def test_a_line_of_writing_has_as_many_things_as_digits() -> None:
    random = np.random.default_rng(0)
    digits = [2, 0, 7, 4, 8]
    picture = np.concatenate([on(230, ink(digit, random, (140, 200), 8), 20, random) for digit in digits], axis=1)
    found = framing.things(picture, INFO)
    singles = [framing.things(part, INFO)[0].image for part in np.split(picture, 5, axis=1)]
    assert len(found) == 5
    assert all(_alike(thing.image, single) > 0.9 for thing, single in zip(found, singles, strict=True))
