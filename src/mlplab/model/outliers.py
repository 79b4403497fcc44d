"""Detects images that are unlike those a network was trained on."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mlplab.data.splits import SplitDataset
from mlplab.model.mlp import last_hidden_layer
from mlplab.model.predictor import Predictor

REFERENCES, OTHERS = 5000, 2000  # training images, and those that set the limit: a fifth of a second
SHARE = 0.99  # of these are within the limit


class Outliers:
    """Detects images whose last hidden layer is far, by angle, from that of every training image.

    The distance to the nearest neighbour is from Sun et al. (2022), "Out-of-distribution detection with deep nearest
    neighbors". One in a hundred validation images, or of other training images if there are none, is beyond the limit.

    Raises:
        DataError: if the data set is damaged, or missing; it is not downloaded.
    """

    def __init__(self, predictor: Predictor, dataset: SplitDataset) -> None:
        self._predictor, self._dataset = predictor, dataset
        dataset.require_files()
        images, _ = dataset.train_data()
        rows = dataset.train_rows
        count = min(REFERENCES, len(rows) if len(dataset.val_rows) else (len(rows) + 1) // 2)
        others = dataset.val_rows if len(dataset.val_rows) else rows[count:]
        self._references = directions(predictor, dataset, images[rows[:count]])
        self._limit = float(self._nearest(images[others[:OTHERS]]).quantile(1 - SHARE)) if len(others) else -1.0

    def __call__(self, images: Tensor) -> Tensor:
        """Tell which images (N, C, H, W) uint8 are unlike the training images, (N,)."""
        return self._nearest(images) < self._limit

    def _nearest(self, images: Tensor) -> Tensor:
        """Compute the cosine of the angle to the nearest training image, (N,)."""
        parts = [directions(self._predictor, self._dataset, some) @ self._references.T for some in images.split(500)]
        return torch.cat([cosines.max(dim=1).values for cosines in parts])


@torch.inference_mode()
def directions(predictor: Predictor, dataset: SplitDataset, images: Tensor) -> Tensor:
    """Compute the last hidden layer (N, width) of images (N, C, H, W) uint8, each row scaled to length 1."""
    values = last_hidden_layer(predictor.eval_network, dataset.normalized(images))
    return F.normalize(values.float())
