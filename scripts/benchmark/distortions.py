"""What distorting 100 images takes, beside torchvision's transforms, which draw once for all images they are given."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from mlplab import startup
from mlplab.data.augmentation import Distortion

IMAGES, ROUNDS, TURN_S = 100, 5, 0.5
AFFINE: dict[str, Any] = {"rotation": 15.0, "scale": (0.85, 1.15), "shear": 15.0}
OURS = {
    "shift": Distortion(shift=2),
    "affine": Distortion(**AFFINE),
    "elastic": Distortion(elastic_alpha=34.0),
    "affine and elastic": Distortion(**AFFINE, elastic_alpha=34.0),
}
# An alpha is twice ours, see `augment.elastic`.
BILINEAR = v2.InterpolationMode.BILINEAR
TORCHVISION = {
    "affine": v2.RandomAffine(AFFINE["rotation"], None, AFFINE["scale"], AFFINE["shear"], BILINEAR),
    "elastic": v2.ElasticTransform(68.0, 4.0),
}


def measure() -> dict[str, Any]:
    """Milliseconds for 100 images of MNIST's size on one thread, as medians over rounds in turn."""
    startup.tune()
    images = torch.randint(256, (IMAGES, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ways: dict[str, Callable[[], object]] = {}
    for name, distortion in OURS.items():
        ways[name] = partial(distortion, images, 0)
    for name, transform in TORCHVISION.items():
        ways[f"{name}, torchvision, image by image"] = partial(one_by_one, transform, images)
        ways[f"{name}, torchvision, all alike"] = partial(transform, images)
    turns: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            turns[name].append(milliseconds(way))
    found = {name: statistics.median(values) for name, values in turns.items()}
    for name, value in found.items():
        print(f"{name:45} {value:8.2f} ms for {IMAGES} images")
    return {"ms_per_100_images": found, "turns": turns}


def one_by_one(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.stack([transform(image) for image in images])


def milliseconds(way: Callable[[], object]) -> float:
    way()  # allocates
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < TURN_S:
        way()
        calls += 1
    return 1000 * (time.perf_counter() - started) / calls
