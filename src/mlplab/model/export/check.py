"""Runs exported files as their user would, and compares them with the network."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlplab.data.splits import SplitDataset
from mlplab.model.predictor import Predictor

MOST_IMAGES = 1000


def test_images(dataset: SplitDataset) -> Tensor:
    """Return at most MOST_IMAGES test images (N, C, H, W) uint8; raises DataError if there are none here."""
    dataset.require_files()
    return dataset.test_data()[0][:MOST_IMAGES]


def random_images(dataset: SplitDataset) -> Tensor:
    """Return MOST_IMAGES images (N, C, H, W) uint8 of random pixels."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (MOST_IMAGES, *dataset.info.image_shape), dtype=torch.uint8, generator=generator)


def difference(
    exporter: Any, contents: Mapping[str, bytes], predictor: Predictor, dataset: SplitDataset, images: Tensor
) -> float:
    """Return the largest difference of a probability between files and network; NaN if one of them is NaN.

    Args:
        exporter: the module that made the files, such as `onnx_file`.
        contents: the files, by suffix; the first one is opened.
        images: (N, C, H, W) uint8.
    """
    pixels = images.squeeze(1) if images.shape[1] == 1 else images  # as files take them: (N, H, W)
    with torch.inference_mode():
        expected = predictor.predict_step(dataset.normalized(images)).numpy()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"network{suffix}" for suffix in contents]
        for path, content in zip(paths, contents.values(), strict=True):
            path.write_bytes(content)
        return float(np.abs(exporter.probabilities(paths[0], pixels.numpy()) - expected).max())
