"""Finds the things drawn in a grey picture, and frames each like the training images; arrays in, arrays out.

The steps are simple and do not depend on a library's rounding, so that draw/framing.js does the same in a browser, to
the pixel; change both together:

1. A picture that is already framed stays unchanged. Any other is shrunk by an integer factor, averaging squares of
   pixels, and smoothed by a 3 x 3 mean.
2. The picture and its inverse are examined as bright on dark. The background is the grey opening by a square larger
   than any stroke; pixels above it by more than Otsu's level are foreground. Strips along an edge and specks are
   dropped.
3. Of the two, the one with the thinner strokes on the smoother background is kept; neither, if the background is as
   rough as the strokes.
4. Pieces above one another form one thing. It is thickened if its strokes would be too fine, scaled, stretched to full
   contrast, and centred.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mlplab.data.image_dataset import DatasetInfo

Background = Literal["auto", "light", "dark"]
Bytes = npt.NDArray[np.uint8]  # (H, W)
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]  # (H, W): 0, or the number of the piece to which a pixel belongs
Mask = npt.NDArray[np.bool_]  # (H, W)

FAINTEST = 10  # of 255: what differs less from the ground is noise
INK = 25  # what differs more belongs to a thing that fills its frame; noise of a JPEG stays below it
SIDE = 256  # pixels: the longer side of a picture is shrunk to this, or to less than twice this
SQUARE = np.ones((3, 3), dtype=bool)


class Thing(NamedTuple):
    image: Bytes  # bright on black, of the training images' size
    area: int  # pixels of the picture, shrunk, that are drawn


def things(picture: Bytes, info: DatasetInfo, background: Background = "auto") -> list[Thing]:
    """Find the drawn things, from left to right; none, if nothing stands out from the background."""
    is_sure = background != "auto"
    ground = background if is_sure or not _fills(info) else _ground_by_border(picture)
    views = [view for side, view in (("dark", picture), ("light", 255 - picture)) if ground in (side, "auto")]
    for view in views:
        if is_framed(view, info):
            return [Thing(view, view.size)]
    found = [_drawn(view, info, is_sure) for view in map(_shrunk, views)]
    strongest = max(contrast for _, _, contrast, _ in found)
    if strongest < FAINTEST:
        return []
    raised, pieces, _, _ = min(found, key=lambda one: (one[2] < strongest / 2, one[3]))
    return [Thing(_framed(raised, thing, info), int(thing.sum())) for thing in _grouped(pieces)]


def rounded(values: Floats | float) -> Floats:
    """Round halves up, including values that an inexact sum leaves just below a half."""
    whole: Floats = np.floor(np.asarray(values) + (0.5 + 1e-9))
    return whole


def is_framed(image: Bytes, info: DatasetInfo) -> bool:
    """Tell whether an image is bright on black, and as large and centred as the training images."""
    if image.shape != info.image_shape[1:] or image.min() > INK or image.max() < 200:
        return False
    box = _box(image > INK)
    if not info.object_size - 2 <= max(image[box].shape) <= info.object_size:
        return False
    if not info.centred_by_mass:
        return all(abs(part.start + part.stop - side) <= 3 for part, side in zip(box, image.shape, strict=True))
    centres = ndimage.center_of_mass(image)
    return all(abs(centre - side / 2) <= 0.75 for centre, side in zip(centres, image.shape, strict=True))


def _fills(info: DatasetInfo) -> bool:
    """Tell whether the data set shows things that fill their frame: garments, which have no strokes."""
    return info.object_size >= max(info.image_shape[1:])


def _ground_by_border(picture: Bytes) -> Background:
    """Judge the background by the border: light, if pixels that differ from its median are darker."""
    pixels = picture.astype(np.float64)
    ground = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    below, above = (np.clip(sign * (pixels - ground) - INK, 0, None).sum() for sign in (-1, 1))
    return "light" if below > above else "dark"


def _shrunk(picture: Bytes) -> Floats:
    n = max(1, max(picture.shape) // SIDE)
    rows, columns = (np.arange(0, side, n) for side in picture.shape)
    sums = np.add.reduceat(np.add.reduceat(picture, rows, axis=0, dtype=np.int64), columns, axis=1)
    heights, widths = (
        np.diff(starts, append=side) for starts, side in zip((rows, columns), picture.shape, strict=True)
    )
    mean: Floats = sums / np.outer(heights, widths)
    if min(mean.shape) > 80:  # otherwise a stroke may be one pixel wide
        mean = ndimage.uniform_filter(mean, 3, mode="nearest")
    return mean


def _drawn(view: Floats, info: DatasetInfo, is_sure: bool) -> tuple[Floats, Labels, float, float]:
    """Separate drawing and background; return height (H, W), pieces, contrast, and dissimilarity to strokes on paper.

    `is_sure`: the user has stated the background, so there is a drawing.
    """
    longest = max(view.shape)
    side = 1 + 2 * max(1, longest // (2 if _fills(info) else 6))
    raised: Floats = view - ndimage.grey_opening(view, size=(side, side), mode="reflect")  # d c b a | a b c d
    level = float(INK) if _fills(info) else _level(raised)
    mask = raised > level
    if not mask.any():
        return raised, mask.astype(np.int32), 0.0, 0.0
    near = ndimage.binary_dilation(mask, SQUARE, iterations=longest // 128) if longest >= 128 else mask
    pieces: Labels = ndimage.label(near, SQUARE)[0] * mask  # a stroke may have gaps
    pieces = _without_specks(_without_strips(pieces))
    ground = view - raised
    steps = sum(float(np.abs(np.diff(ground, axis=axis)).sum()) for axis in (0, 1)) / longest
    unlike = (_width(pieces > 0) + 0.8) ** 1.5 * (steps + 8)
    contrast = float(np.percentile(raised[pieces > 0], 75)) if _fills(info) else _contrast(view, pieces > 0, is_sure)
    return raised, pieces, contrast, unlike


def _contrast(view: Floats, mask: Mask, is_sure: bool) -> float:
    """Measure the steepness of a drawing's edges; 0 if the background is nearly as rough (noise), unless `is_sure`."""
    rough = ndimage.maximum_filter(view, 5) - ndimage.minimum_filter(view, 5)
    edge = mask & ~ndimage.binary_erosion(mask, SQUARE, border_value=1)  # not where the picture cuts it off
    ground = rough[~ndimage.binary_dilation(mask, SQUARE, iterations=2)]
    contrast = float(np.median(rough[edge]))
    return contrast if is_sure or contrast > 2 * (float(np.percentile(ground, 25)) if ground.size else 0) else 0.0


def _level(raised: Floats) -> float:
    """Find Otsu's level (1979), which best separates two classes; or a higher one, above the lines of the paper."""
    counts = np.bincount(np.floor(raised + 0.5).astype(np.int64).ravel(), minlength=256).astype(np.float64)
    below, sums = counts.cumsum(), (counts * np.arange(256)).cumsum()
    apart = (sums[-1] * below - sums * below[-1]) ** 2 / np.maximum(below * (below[-1] - below), 1)
    level = float(apart.argmax()) + 0.5
    above = raised[raised > level]
    return max(level, 0.45 * float(np.percentile(above, 90))) if above.size else level


def _without_strips(pieces: Labels) -> Labels:
    """Drop edges of the paper and frames: pieces along an edge, if anything large is left."""
    strips, boxes = [], ndimage.find_objects(pieces)
    edges = [pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]
    shares = np.max([np.bincount(edge, minlength=len(boxes) + 1) / len(edge) for edge in edges], axis=0)
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        across = max((part.stop - part.start) / side for part, side in zip(box, pieces.shape, strict=True))
        if shares[number] > 0.4 or (shares[number] > 0 and across > 0.95):
            strips.append(number)
    kept: Labels = np.where(np.isin(pieces, strips), 0, pieces)
    sides = [part.stop - part.start for box in ndimage.find_objects(kept) if box for part in box]
    return kept if max(sides, default=0) >= 0.15 * max(pieces.shape) else pieces


def _without_specks(pieces: Labels) -> Labels:
    """Drop pieces below 8 % of the largest."""
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    kept: Labels = np.where(areas[pieces] >= 0.08 * areas.max(), pieces, 0)
    return kept


def _grouped(pieces: Labels) -> list[Mask]:
    """Join pieces that lie above one another, from left to right, and drop things far smaller than the largest."""
    boxes = [(box[1].start, box[1].stop, box[0].start, box[0].stop, {number})
             for number, box in enumerate(ndimage.find_objects(pieces), start=1) if box]  # fmt: skip
    groups = list[tuple[int, int, int, int, set[int]]]()
    while boxes:
        left, right, top, bottom, numbers = boxes.pop()
        for other in groups:
            shared = min(right, other[1]) - max(left, other[0])
            gap = max(top, other[2]) - min(bottom, other[3])
            narrower = min(right - left, other[1] - other[0])
            shorter, taller = sorted([bottom - top, other[3] - other[2]])
            near = 0.3 if shorter < taller / 2 else 0.1  # a dash of a digit, or the next line of a page
            if shared > narrower / 4 and gap < near * taller:
                groups.remove(other)
                boxes.append(
                    (min(left, other[0]), max(right, other[1]), min(top, other[2]), max(bottom, other[3]),
                     numbers | other[4])
                )  # fmt: skip
                break
        else:
            groups.append((left, right, top, bottom, numbers))
    longest = max(max(right - left, bottom - top) for left, right, top, bottom, _ in groups)
    kept = [group for group in sorted(groups) if max(group[1] - group[0], group[3] - group[2]) > 0.4 * longest]
    return [np.isin(pieces, list(numbers)) for *_, numbers in kept]


def _framed(raised: Floats, thing: Mask, info: DatasetInfo) -> Bytes:
    around, box = 1 + max(thing.shape) // 256, _box(thing)
    raised, thing = raised[box], thing[box]
    near = ndimage.binary_dilation(thing, SQUARE, iterations=around)
    white = (99, 100) if _fills(info) else (75, 80)  # garments have tones; strokes are white except at their edges
    grey: Floats = np.where(near, np.clip(raised / np.percentile(raised[thing], white[0]), 0, 1), 0)
    longest = max(thing.shape)
    missing = int(rounded((longest / 10 - _width(np.pad(grey > 0.5, 1))) / 2))  # on each side, to two pixels of twenty
    if missing > 0:
        y, x = np.mgrid[-missing : missing + 1, -missing : missing + 1]
        disc = x * x + y * y <= missing * (missing + 1)
        grey = ndimage.grey_dilation(np.pad(grey, missing), footprint=disc)
        thing = ndimage.binary_dilation(np.pad(thing, missing), disc)
    cut = grey[_box(thing)]
    size = [max(1, int(rounded(side * info.object_size / max(cut.shape)))) for side in cut.shape]
    down, across = (_resampling(old, new) for old, new in zip(cut.shape, size, strict=True))
    scaled: Floats = down @ cut @ across.T
    bright = scaled[scaled > min(0.2, scaled.max() / 2)]
    scaled = np.clip(scaled * (255 / np.percentile(bright, white[1])), 0, 255)
    image: Floats = np.zeros(info.image_shape[1:])
    y, x = (_offset(scaled.sum(axis=1 - axis), image.shape[axis], info.centred_by_mass) for axis in (0, 1))
    image[y : y + size[0], x : x + size[1]] = scaled
    return rounded(image).astype(np.uint8)


def _box(mask: Mask) -> tuple[slice, slice]:
    """Return the slices of rows and columns that enclose it."""
    boxes: list[tuple[slice, slice]] = ndimage.find_objects(mask.astype(np.int32))
    return boxes[0]


def _width(mask: Mask) -> float:
    """Estimate the mean width of strokes from the distance of their pixels to the nearest outside; at least 1."""
    inside = ndimage.distance_transform_cdt(np.pad(mask, 1, mode="edge"), metric="chessboard")[1:-1, 1:-1]
    return max(1.0, 4 * float(inside[mask].mean()) - 2) if mask.any() else 1.0


def _resampling(old: int, new: int) -> Floats:
    """Make the matrix (new, old) of a triangle filter, two pixels of the smaller picture wide."""
    scale = max(1.0, old / new)
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(old)[None] - centres[:, None]) / scale)
    matrix: Floats = weights / weights.sum(axis=1, keepdims=True)
    return matrix


def _offset(mass: Floats, frame: int, by_mass: bool) -> int:
    """Return the offset that centres `mass` in `frame` pixels: by its middle, or by its centre of mass as in MNIST."""
    if not by_mass:
        return (frame - len(mass)) // 2
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(rounded(frame / 2 - centre), 0, frame - len(mass)))
