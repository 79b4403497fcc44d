"""Distorted training images: shifted, flipped, rotated, scaled, sheared and elastically distorted, a batch at a time.

All random numbers follow from a seed. Distortions are combined, so that each image is resampled once.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mlplab.randomness import bits, uniform

# Purposes of the random numbers drawn with the seed of a batch.
OF_IMAGES, OF_PIXELS = 0, 1


@dataclass(frozen=True)
class Distortion:
    """Limits of distortion; each image draws its own values, uniformly and independently.

    An image is flipped, then sheared, scaled and rotated about its centre, then shifted. Elastic displacement is added
    to the position at which a pixel is then read, in pixels of the original image. Pixels from outside the image are
    background, 0.

    Args:
        shift: largest shift in each direction, in whole pixels, because fractions would blur.
        flip: probability from 0 to 1 of being mirrored left to right.
        rotation: degrees from 0 to 180, either way.
        scale: smallest and largest factor of the size, above 0.
        shear: degrees from 0 to below 90 by which upright lines lean, either way.
        elastic_alpha: strength of the elastic displacement in pixels, see `elastic`.
        elastic_sigma: smoothness of the elastic displacement in pixels, at least 0.01.

    Raises:
        ValueError: for a value out of range.
    """

    shift: int = 0
    flip: float = 0.0
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    elastic_alpha: float = 0.0
    elastic_sigma: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(self.scale))  # a list, if read from a file
        rules = {
            "shift": ("a whole number of at least 0", isinstance(self.shift, int) and self.shift >= 0),
            "flip": ("from 0 to 1", 0 <= self.flip <= 1),
            "rotation": ("from 0 to 180", 0 <= self.rotation <= 180),
            "scale": (
                "two factors above 0, the smaller first",
                len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] < math.inf,
            ),
            "shear": ("from 0 to below 90", 0 <= self.shear < 90),
            "elastic_alpha": ("at least 0", 0 <= self.elastic_alpha < math.inf),
            "elastic_sigma": ("at least 0.01", 0.01 <= self.elastic_sigma < math.inf),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise ValueError(f"`{name}` must be {rule}, got {getattr(self, name)!r} (regularization.{name})")

    @property
    def is_identity(self) -> bool:
        return not (self.moves or self.elastic_alpha)

    @property
    def moves(self) -> bool:
        """Tell whether there is any distortion besides elastic displacement."""
        return bool(self.shift or self.flip or self.rotation or self.scale != (1, 1) or self.shear)

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Distort images (B, C, H, W) of pixels from 0, the background, to 255: float32, or unchanged if not distorted.

        The distortion of an image depends only on `seed` and the position of the image in the batch.
        """
        if self.is_identity:
            return images
        matrices, shifts = self._drawn(len(images), seed, images.device) if self.moves else (None, None)
        places = affine(images, matrices, shifts)  # (B or 1, 2, H, W)
        if self.elastic_alpha:
            places = places + elastic(images, self.elastic_alpha, self.elastic_sigma, seed)
        return sample(images.float(), places).clamp(max=255)  # weights of neighbours sum to 1 except for rounding

    def _drawn(self, count: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw matrices (B, 2, 2) and shifts (B, 2) of B images for `affine`."""
        drawn = uniform((count, 6), seed, OF_IMAGES).to(device).T  # (6, B)
        signed = drawn * 2 - 1
        smallest, largest = self.scale
        matrices = matrices_of(
            rotation=signed[0] * self.rotation,
            scale=drawn[1] * (largest - smallest) + smallest,
            shear=signed[2] * self.shear,
            flipped=drawn[3] <= self.flip,  # numbers above 0
        )
        shifts = (signed[4:] * (self.shift + 0.5)).round().clamp(-self.shift, self.shift)
        return matrices, shifts.T


def matrices_of(rotation: Tensor, scale: Tensor, shear: Tensor, flipped: Tensor) -> Tensor:
    """Make matrices (B, 2, 2) that map (x, y) of a distorted image to the original position, both from the centre.

    Args:
        rotation: (B,) degrees, counterclockwise.
        scale: (B,) factors of the size.
        shear: (B,) degrees by which upright lines lean, to the left at the top.
        flipped: (B,) bool, left to right.
    """
    angle, slope, side = rotation.deg2rad(), shear.deg2rad().tan(), 1 - 2 * flipped.float()
    cos, sin = angle.cos() / scale, angle.sin() / scale  # y points down, so the inverse rotation is clockwise
    matrices = torch.stack([side * (cos - slope * sin), -side * (sin + slope * cos), sin, cos], dim=1)
    return matrices.view(-1, 2, 2)


def affine(images: Tensor, matrices: Tensor | None = None, shifts: Tensor | None = None) -> Tensor:
    """Find where each pixel of the distorted images (B, C, H, W) lies in the given ones.

    Args:
        images: only their size is used.
        matrices: (B, 2, 2), see `matrices_of`; None for the identity.
        shifts: (B, 2) pixels to the right and down, applied after the matrices.

    Returns:
        (B, 2, H, W), or one for all images: x and y in pixels from the centre.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device).view(-1, 1) - (height - 1) / 2
    if matrices is None or shifts is None:
        return torch.stack([x.expand(height, width), y.expand(height, width)]).unsqueeze(0)
    x, y = x - shifts[:, 0].view(-1, 1, 1, 1), y - shifts[:, 1].view(-1, 1, 1, 1)  # (B, 1, 1, W), (B, 1, H, 1)
    return matrices[:, :, :1, None] * x + matrices[:, :, 1:, None] * y


def elastic(images: Tensor, alpha: float, sigma: float, seed: int) -> Tensor:
    """Draw random displacements (B, 2, H, W) in pixels, x and y, for images (B, C, H, W).

    Simard, Steinkraus and Platt (2003), as usually read: for each pixel two numbers from -1 to 1, smoothed with a
    Gaussian of standard deviation `sigma` pixels, times `alpha`. The Gaussian sums to 1, and the field is 0 outside the
    image. So far from the edges a displacement has a standard deviation of alpha / (sigma * sqrt(12 pi)) pixels: 1.4
    with their alpha of 34 and sigma of 4.

    In other libraries, scipy's `gaussian_filter(field, sigma, mode="constant") * alpha` is the same. ElasticTransform
    of torchvision divides by the size of an image that spans 2, so its alpha is twice this one. Where the smoothed
    field is scaled to a norm or a maximum before it is multiplied, alpha is that of the displacement itself.
    """
    count, _, height, width = images.shape
    # Integers from -2^15 to 2^15 - 1: 16 bits are enough for sums over a neighbourhood.
    field = bits((count, 2, height, width), seed, OF_PIXELS).to(images.device).float().add_(0.5)
    down, across = (smoothing(size, sigma, images.device) for size in (height, width))
    return (down * (alpha * 2.0**-15)) @ (field @ across)


def smoothing(size: int, sigma: float, device: torch.device) -> Tensor:
    """Make a matrix (size, size) that smooths a row of pixels with a Gaussian, whose sum over all integers is 1.

    Multiplying by one matrix per direction takes a tenth of the time of a convolution.
    """
    total = sigma * math.sqrt(2 * math.pi)  # equals the sum to 1e-8, unless sigma is small
    if sigma < 1:
        total = sum(math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(-8, 9))
    place = torch.arange(size, dtype=torch.float32, device=device)
    return ((place - place.view(-1, 1)) / sigma).square().mul(-0.5).exp() / total


def sample(images: Tensor, places: Tensor) -> Tensor:
    """Sample images (B, C, H, W) at `places` (B, 2, H, W), x and y in pixels from the centre.

    Interpolation is bilinear; pixels outside the image are 0.
    """
    height, width = images.shape[2:]
    # In torch's units an image spans 2. Stored as planes: with x and y interleaved this would take three times as long.
    planes = torch.stack([places[:, 0] * (2 / width), places[:, 1] * (2 / height)], dim=1)
    return F.grid_sample(images, planes.permute(0, 2, 3, 1), align_corners=False)
