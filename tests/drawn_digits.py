"""Digits as in photographs, scans and drawings: made of lines, on many backgrounds."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Random = np.random.Generator

STROKES = {  # x, y in a box of 10 x 14, y downwards
    0: [[(5, 0), (1, 3), (0, 8), (2, 13), (5, 14), (9, 11), (10, 5), (8, 1), (5, 0)]],
    2: [[(1, 3), (4, 0), (8, 1), (9, 4), (1, 14), (10, 13)]],
    3: [[(1, 1), (6, 0), (8, 3), (4, 6), (9, 9), (7, 13), (1, 14)]],
    4: [[(7, 14), (7, 0), (0, 9), (10, 9)]],
    5: [[(9, 0), (2, 0), (1, 6), (6, 5), (9, 9), (6, 14), (0, 13)]],
    7: [[(0, 0), (10, 0), (4, 14)]],
    8: [[(5, 6), (1, 3), (5, 0), (9, 3), (5, 6), (0, 10), (5, 14), (10, 10), (5, 6)]],
}


def ink(digit: int, random: Random, size: tuple[int, int], pen: float, share: float = 0.5) -> Floats:
    """Return the covered fraction of each pixel (H, W); `size` is width and height, `share` the digit's fraction."""
    width, height = size
    unit = share * height / 14
    turn = random.uniform(-0.1, 0.1)
    left, top = width / 2 + random.uniform(-0.05, 0.05) * width, height / 2
    canvas = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(canvas)
    for stroke in STROKES[digit]:
        points = [
            (2 * (left + unit * (x - 5 - turn * (y - 7))), 2 * (top + unit * (y - 7 + turn * (x - 5))))
            for x, y in stroke
        ]
        draw.line(points, fill=255, width=max(1, round(2 * pen)), joint="curve")
    reduced = np.asarray(canvas.resize(size, Image.Resampling.BOX), dtype=np.float64)
    return reduced / 255


def on(ground: Floats | float, drawn: Floats, tone: float, random: Random, noise: float = 2) -> Bytes:
    pixels = ground * (1 - drawn) + tone * drawn + random.normal(0, noise, drawn.shape)
    return pixels.clip(0, 255).round().astype(np.uint8)


def slope(size: tuple[int, int], dark: float, light: float, random: Random) -> Floats:
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[: size[1], : size[0]]
    along = x * np.cos(angle) + y * np.sin(angle)
    return dark + (light - dark) * (along - along.min()) / np.ptp(along)


def uneven_light(digit: int, random: Random) -> Bytes:
    return on(slope((500, 420), 120, 210, random), ink(digit, random, (500, 420), 5), 50, random)


def shadow(digit: int, random: Random) -> Bytes:
    y, x = np.mgrid[:450, :480]
    ground = 205 - 90 * np.exp(-((x / 200) ** 2 + ((y - 450) / 200) ** 2))
    return on(ground, ink(digit, random, (480, 450), 7), 35, random)


def pencil(digit: int, random: Random) -> Bytes:
    return on(slope((400, 600), 195, 205, random), ink(digit, random, (400, 600), 5, share=0.25), 165, random)


def fine_pen(digit: int, random: Random) -> Bytes:
    return on(255, ink(digit, random, (1400, 1000), 3, share=0.4), 20, random, noise=0)


def ruled(digit: int, random: Random) -> Bytes:
    ground = np.full((460, 460), 240.0)
    ground[int(random.integers(5, 30)) :: 41] = 180
    ground[1:] = np.minimum(ground[1:], ground[:-1] + 30)
    return on(ground, ink(digit, random, (460, 460), 8), 30, random)


def squared(digit: int, random: Random) -> Bytes:
    ground = np.full((420, 420), 240.0)
    ground[10::29] = ground[11::29] = 188
    ground[:, 10::29] = ground[:, 11::29] = 188
    return on(ground, ink(digit, random, (420, 420), 9), 22, random)


def table_edge(digit: int, random: Random) -> Bytes:
    ground = np.full((440, 480), 222.0)
    ground[:, -int(random.integers(15, 45)) :] = 50
    ground[: int(random.integers(15, 45))] = 50
    return on(ground, ink(digit, random, (480, 440), 10), 25, random)


def dust(digit: int, random: Random) -> Bytes:
    picture = on(250, ink(digit, random, (380, 380), 12), 10, random)
    picture[20:26, 30:36] = picture[350:355, 360:366] = 80
    return picture


def dark_paper(digit: int, random: Random) -> Bytes:
    return on(105, ink(digit, random, (300, 420), 6, share=0.3), 30, random)


def board(digit: int, random: Random) -> Bytes:
    return on(slope((460, 440), 55, 80, random), ink(digit, random, (460, 440), 10), 215, random, noise=5)


def tight(digit: int, random: Random) -> Bytes:
    drawn = ink(digit, random, (200, 240), 24, share=0.8)
    rows, columns = (np.flatnonzero((drawn > 0.5).any(axis=axis)) for axis in (1, 0))
    inside = drawn[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]]
    return on(112, inside, 12, random)


def _small(drawn: Floats, tone: float, ground: float, random: Random, noise: float = 0) -> Bytes:
    return on(ground, drawn.reshape(28, 10, 28, 10).mean(axis=(1, 3)), tone, random, noise)


def framed_by_lines(digit: int, random: Random) -> Bytes:
    picture = _small(ink(digit, random, (280, 280), 24, share=0.68), 0, 255, random)
    picture[0] = picture[-1] = picture[:, -1] = 0
    return picture


def pale(digit: int, random: Random) -> Bytes:
    return _small(ink(digit, random, (280, 280), 7, share=0.55), 70, 190, random, noise=4)


def large(digit: int, random: Random) -> Bytes:
    return _small(ink(digit, random, (280, 280), 22, share=0.92), 0, 255, random)


def in_a_corner(digit: int, random: Random) -> Bytes:
    whole = _small(ink(digit, random, (280, 280), 15, share=0.42), 0, 255, random)
    return np.roll(whole, (-5, int(random.choice([-5, 5]))), (0, 1))


KINDS: tuple[Callable[[int, Random], Bytes], ...] = (
    uneven_light, shadow, pencil, fine_pen, ruled, squared, table_edge, dust, dark_paper, board, tight, framed_by_lines,
    pale, large, in_a_corner,
)  # fmt: skip
