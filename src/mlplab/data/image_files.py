"""Reads untrusted image files of any size and colour, and prepares what is drawn in them for a network."""

import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from torch import Tensor

from mlplab.data import framing
from mlplab.data.framing import Background, Bytes, Floats
from mlplab.data.image_dataset import DatasetInfo
from mlplab.errors import DataError

MOST_BYTES = 200_000_000  # of a file
MOST_PIXELS = 100_000_000  # of a picture
MOST_FRAMES = 20  # frames of an animation searched for the first that is not empty
SIDE = 1024  # pixels: a larger picture is shrunk to this, or to less than twice this, before its colours are looked at

# Files often mistaken for images, by their first bytes, and what to do.
KINDS = {
    rb"....ftyp(hei|hev|mif|msf)": "a HEIC file, convert it to JPEG",
    rb"....ftypavi": "an AVIF file, convert it to JPEG",
    rb"....ftyp": "a video, save a frame of it as PNG",
    rb"bplist|\s*<\?xml.*<plist|\s*<!DOCTYPE plist": "an Apple property list, not the picture itself",
    rb"\x00\x05\x16[\x00\x07]": "a macOS metadata file, not the picture itself",
    rb"%PDF": "a PDF, save its page as PNG",
    rb"(\s*<\?xml.*)?\s*<svg": "an SVG drawing, save it as PNG",
    rb"\s*<(!DOCTYPE )?html": "a web page, save the picture itself",
    rb"PK\x03\x04": "a ZIP archive, unpack it",
    rb"\x1f\x8b": "a gzip archive, unpack it",
    rb"\x93NUMPY": "an array of NumPy, save it as PNG",
    rb"[^\x00-\x08\x0e-\x1f\n]*[,;\t][^\x00-\x08\x0e-\x1f]*$": "a CSV table, save each row as PNG",
    rb"[^\x00-\x08\x0e-\x1f]+$": "a text",
    rb"$": "an empty file",
}


def read(path: Path, info: DatasetInfo, background: Background = "auto", several: bool = False) -> tuple[Tensor, int]:
    """Read images (N, C, H, W) uint8, prepared like the data set, and the number of separate things drawn.

    Returns the largest of these things, or if `several` all of them from left to right, see `framing.things`. Of a file
    with several images, the first non-empty one is used. Pictures of a data set `as_they_are` count as one thing.

    Raises:
        DataError: if it is not a readable image, or nothing stands out from its background, or its size is wrong.
    """
    if info.as_they_are:
        return torch.from_numpy(as_is(path, info.image_shape)).unsqueeze(0), 1
    found = _things(path, info, background)
    if not found:
        way_out = "--background light or dark" if background == "auto" else "the other --background"
        raise DataError(f"{path}: nothing stands out from its background. Try {way_out}.")
    chosen = found if several else [_largest(found)]
    images = torch.from_numpy(np.stack([thing.image for thing in chosen])).unsqueeze(1)  # (N, H, W) -> (N, 1, H, W)
    return images.expand(-1, *info.image_shape).clone(), len(found)


def framed(path: Path, info: DatasetInfo) -> Bytes:
    """Read the largest thing of a picture as `read` does, (H, W); raises DataError, too."""
    found = _things(path, info, "auto")
    if not found:
        raise DataError(f"{path}: nothing stands out from its background. Delete it, or use data.prepare=none.")
    return _largest(found).image


def as_is(path: Path, shape: tuple[int, int, int]) -> Bytes:
    """Read a picture (C, H, W) as it is, in grey if C is 1, in colour if it is 3; a transparent one as `read` does.

    Raises:
        DataError: if it is not a readable image, or has another size.
    """
    with _reading(path):
        image = next(_frames(path))
        width, height = image.size
        if (height, width) != tuple(shape[1:]):
            raise DataError(
                f"{path}: has {height}x{width} pixels, but the other images have {shape[1]}x{shape[2]}, and"
                " data.prepare=none uses them as they are. Give pictures of one size, or train with data.prepare=mnist."
            )
        if image.mode[0] in "IF":  # 16 or 32 bits, or floats, of any range
            pixels = _stretched(np.asarray(image, dtype=np.float64))
        else:
            if image.has_transparency_data:
                colours = np.asarray(image.convert("RGBA"), dtype=np.float64)  # (H, W, 4)
                image = Image.fromarray(_bytes(_composited(colours[..., :3], colours[..., 3:] / 255)))
            pixels = np.asarray(image.convert("L" if shape[0] == 1 else "RGB"))
    return np.broadcast_to(pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1), shape).copy()


def shape_of(path: Path) -> tuple[int, int, int]:
    """Return (C, H, W) of a picture, with 1 or 3 colours."""
    with _reading(path):
        image = next(_frames(path))
    is_grey = image.mode[0] in "1LIF" and not image.mode.startswith("LAB")
    return 1 if is_grey else 3, image.height, image.width


def _largest(found: Sequence[framing.Thing]) -> framing.Thing:
    return max(found, key=lambda thing: thing.area)


def _things(path: Path, info: DatasetInfo, background: Background) -> list[framing.Thing]:
    with _reading(path):
        found = (framing.things(_grey(frame), info, background) for frame in _frames(path))
        return next(filter(None, found), [])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise a DataError for a file that is not an image."""
    _require_file(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # about metadata, which do not matter here
            yield
    except DataError:
        raise
    except Exception as error:  # Pillow raises anything for untrusted files
        start = _start(path)
        kinds = (says for begins, says in KINDS.items() if re.match(begins, start, re.DOTALL | re.IGNORECASE))
        text = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
        reason = next(kinds, None) or " ".join(text.split())[:150] or type(error).__name__
        raise DataError(f"{path}: not an image that can be read: {reason}. Give a PNG, JPEG, GIF, BMP, ...") from error


def _require_file(path: Path) -> None:
    """Refuse all but regular files of a reasonable size: a pipe may block forever, and a device has no end."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(found.st_mode):
        raise DataError(f"{path}: not an image but a folder. Give {path}/*.png or similar.")
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: not a regular file. Give the image files to classify.")
    if found.st_size > MOST_BYTES:
        raise DataError(f"{path}: has {found.st_size:,} bytes, more than the limit of {MOST_BYTES:,}. Save it smaller.")


def _start(path: Path) -> bytes:
    """Read the first bytes of a file."""
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    return DataError(f"{path}: {reason}. Give the image files to classify.")


def _frames(path: Path) -> Iterator[Image.Image]:
    """Yield copies of the first frames of a file, rotated as the camera was held."""
    with path.open("rb") as stream, Image.open(stream) as file:
        for frame in islice(ImageSequence.Iterator(file), MOST_FRAMES):
            width, height = frame.size
            if width * height > MOST_PIXELS:
                raise DataError(f"{path}: has {width:,} x {height:,} pixels, more than the limit of {MOST_PIXELS:,}.")
            yield ImageOps.exif_transpose(frame)


def _grey(image: Image.Image) -> Bytes:
    if image.mode[0] in "IF":  # 16 or 32 bits, or floats, of any range: Pillow would clip them at 255
        return _stretched(np.asarray(image, dtype=np.float64))
    factor = max(1, max(image.size) // SIDE)
    if image.mode == "L" and not image.has_transparency_data:
        return np.asarray(image.reduce(factor))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB").reduce(factor)
    colours = np.asarray(image, dtype=np.float64)  # (H, W, 3 or 4)
    if colours.shape[2] == 4:
        colours = _composited(colours[..., :3], colours[..., 3:] / 255)
    grey: Floats = colours @ np.array([0.299, 0.587, 0.114])  # perceived brightness: ITU-R 601
    strongest = colours[..., colours.std(axis=(0, 1)).argmax()]
    return _bytes(strongest if strongest.std() > 2 * grey.std() else grey)  # red on green may have the same grey


def _composited(colours: Floats, alpha: Floats) -> Floats:
    """Composite colours (H, W, 3) of opacity (H, W, 1), from 0 to 1, on the background of the opaque part, if any.

    A drawing has no background, and is put on black or white, whichever makes it visible.
    """
    opaque = colours[alpha[..., 0] > 0.5]  # (N, 3)
    ground = np.full(3, 255.0)
    if len(opaque) > alpha.size / 2 and np.ptp(opaque.mean(axis=1)) > framing.INK:
        ground = np.median(opaque, axis=0)
    elif len(opaque) and opaque.mean() > 127:
        ground = np.zeros(3)
    blended: Floats = colours * alpha + ground * (1 - alpha)
    return blended


def _stretched(pixels: Floats) -> Bytes:
    """Stretch values to 0..255, ignoring one in a thousand at each end, which may be faulty pixels."""
    finite = np.sort(pixels[np.isfinite(pixels)])
    few = 1 + len(finite) // 1000
    low, high = (float(finite[few]), float(finite[-1 - few])) if len(finite) > 2 * few else (0.0, 0.0)
    return _bytes((np.nan_to_num(pixels, nan=low, posinf=high, neginf=low) - low) * (255 / max(high - low, 1e-12)))


def _bytes(pixels: Floats) -> Bytes:
    return framing.rounded(pixels.clip(0, 255)).astype(np.uint8)
