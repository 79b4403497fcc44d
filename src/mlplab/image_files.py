"""Image files of any size and colour, brought to what a network was trained on: bright on a black ground."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mlplab.datasets import DatasetInfo
from mlplab.errors import DataError

Background = Literal["auto", "light", "dark"]


def read(path: Path, info: DatasetInfo, background: Background = "auto") -> Tensor:
    """One image (C, H, W) uint8, prepared as MNIST was: cut out, scaled to `info.object_size`, centred by its mass.

    An image that has the right size already is only inverted where its background is light.

    Raises:
        DataError: if Pillow cannot read the file.
    """
    grey = _grey(path)
    pixels = np.asarray(grey, dtype=np.float32)  # (height, width)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if background == "light" or (background == "auto" and np.median(border) > 127):
        pixels = 255 - pixels
    _, height, width = info.image_shape
    if pixels.shape != (height, width):
        pixels = _framed(pixels, height, width, info.object_size)
    image = torch.from_numpy(pixels.round().clip(0, 255).astype(np.uint8))
    return image.expand(info.image_shape).clone()  # (H, W) -> (C, H, W)


def _grey(path: Path) -> Image.Image:
    """8 bits of grey, turned as the camera was held; what is transparent is white."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I") or image.mode == "F":
                return _from_deep(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("L")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if not path.exists():
            raise DataError(f"{path}: does not exist. Give the image files to classify.") from error
        raise DataError(f"{path}: not an image that can be read: {error}. Give a PNG, JPEG, GIF, BMP, ...") from error


def _from_deep(image: Image.Image) -> Image.Image:
    """16 or 32 bits: Pillow would cut off what is above 255."""
    pixels = np.asarray(image, dtype=np.float64)
    highest = 65535 if pixels.max() > 255 else 255
    return Image.fromarray((pixels * (255 / max(highest, pixels.max()))).round().astype(np.uint8))


def _framed(pixels: np.ndarray, height: int, width: int, object_size: int) -> np.ndarray:
    """What is brighter than the ground, scaled to `object_size`, its centre of mass in the middle of the frame."""
    pixels = np.clip(pixels - np.median(pixels[[0, -1]]), 0, None)  # the ground of a scan or a photograph is not 0
    if pixels.max() == 0:
        return np.zeros((height, width), dtype=np.float32)
    pixels = pixels * (255 / pixels.max())
    rows, columns = (np.flatnonzero((pixels > 25).any(axis=axis)) for axis in (1, 0))
    cut = Image.fromarray(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8))
    scale = object_size / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    scaled = np.asarray(cut.resize(size, Image.Resampling.BICUBIC), np.float32)
    frame = np.zeros((height, width), dtype=np.float32)
    top = _offset(scaled.sum(axis=1), height)
    left = _offset(scaled.sum(axis=0), width)
    frame[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return frame


def _offset(mass: np.ndarray, frame: int) -> int:
    """Where to put `mass`, so that its centre is on pixel `frame / 2`, where MNIST has it, or as near as it can be."""
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(round(frame / 2 - centre), 0, frame - len(mass)))
