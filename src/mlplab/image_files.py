"""Image files of any size and colour, brought to what a network was trained on: bright on a black ground."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mlplab.datasets import DatasetInfo
from mlplab.errors import DataError

Background = Literal["auto", "light", "dark"]
Pixels = npt.NDArray[np.float32]  # (height, width), from 0 to 255

# Above the ground by so much, a pixel belongs to what is pictured; noise of a JPEG stays below it.
INK = 25


def read_all(paths: Sequence[Path], info: DatasetInfo, background: Background = "auto") -> list[Tensor]:
    """Images (C, H, W), see `read`. Raises DataError with a line for every file that is none."""
    images, mistakes = [], []
    for path in paths:
        try:
            images.append(read(path, info, background))
        except DataError as error:
            mistakes.append(str(error))
    if mistakes:
        raise DataError("\n".join(mistakes))
    return images


def read(path: Path, info: DatasetInfo, background: Background = "auto") -> Tensor:
    """One image (C, H, W) uint8, prepared as the data set was: cut out, scaled to `info.object_size`, and centred.

    An image that has the right size already is only inverted, where its background is light.

    Raises:
        DataError: if Pillow cannot read the file, or nothing stands out from its background.
    """
    pixels = _grey(path)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if background == "light" or (background == "auto" and np.median(border) > 127):
        pixels, border = 255 - pixels, 255 - border
    drawn = np.clip(pixels - np.median(border), 0, None)  # the ground of a scan or a photograph is not quite 0
    if drawn.max() <= INK:
        raise DataError(f"{path}: nothing stands out from its background. Try --background light or dark.")
    if pixels.shape != info.image_shape[1:]:
        pixels = _framed(drawn, info)
    image = torch.from_numpy(pixels.round().clip(0, 255).astype(np.uint8))
    return image.expand(info.image_shape).clone()  # (H, W) -> (C, H, W)


def _grey(path: Path) -> Pixels:
    """Turned as the camera was held; what is transparent takes the colour, black or white, that shows the rest."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode[0] in "IF":  # 16 or 32 bits, or floats, of any range: Pillow would cut off what is above 255
                return _stretched(np.asarray(image, dtype=np.float64))
            if not image.has_transparency_data:
                return np.asarray(image.convert("L"), dtype=np.float32)
            grey, alpha = (np.asarray(band, dtype=np.float32) for band in image.convert("LA").split())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if not path.exists():
            raise DataError(f"{path}: does not exist. Give the image files to classify.") from error
        raise DataError(f"{path}: not an image that can be read: {error}. Give a PNG, JPEG, GIF, BMP, ...") from error
    opaque = alpha > 127
    ground = 0 if opaque.any() and grey[opaque].mean() > 127 else 255
    blended: Pixels = (grey * alpha + ground * (255 - alpha)) / np.float32(255)
    return blended


def _stretched(pixels: npt.NDArray[np.float64]) -> Pixels:
    """From the lowest to the highest finite value, to 0..255."""
    finite = pixels[np.isfinite(pixels)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    scaled = (np.nan_to_num(pixels, nan=low, posinf=high, neginf=low) - low) * (255 / max(high - low, 1e-12))
    return scaled.astype(np.float32)


def _framed(drawn: Pixels, info: DatasetInfo) -> Pixels:
    """What is drawn on black, `info.object_size` long, in the middle of a frame of `info.image_shape`."""
    pixels = drawn * (255 / drawn.max())
    rows, columns = (np.flatnonzero((pixels > INK).any(axis=axis)) for axis in (1, 0))
    cut = Image.fromarray(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8))
    scale = info.object_size / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    scaled = np.asarray(cut.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    frame: Pixels = np.zeros(info.image_shape[1:], dtype=np.float32)
    top, left = (_offset(scaled.sum(axis=1 - axis), frame.shape[axis], info.centred_by_mass) for axis in (0, 1))
    frame[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return frame


def _offset(mass: Pixels, frame: int, by_mass: bool) -> int:
    """Where to put `mass`: its middle in that of `frame` pixels, or its centre on `frame / 2`, where MNIST has it."""
    if not by_mass:
        return (frame - len(mass)) // 2
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(round(frame / 2 - centre), 0, frame - len(mass)))
