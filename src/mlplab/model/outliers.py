"""Images that are unlike those a network was trained on."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mlplab.data import download
from mlplab.data.datamodule import ImageDataModule
from mlplab.errors import DataError
from mlplab.model.classifier import Classifier

REFERENCES, OTHERS = 5000, 2000  # training images, and those that set the limit: a fifth of a second
SHARE = 0.99  # of these are within the limit


class Outliers:
    """Tells images whose last hidden layer has no training image near it, by the angle between the two.

    The distance to the nearest neighbour is Sun et al.'s (2022), "Out-of-distribution detection with deep nearest
    neighbors". One in a hundred validation images is beyond the limit; without those, one of other training images.

    Raises:
        DataError: if the data set is not there, which is not fetched for this, or is damaged.
    """

    def __init__(self, classifier: Classifier, datamodule: ImageDataModule) -> None:
        self._classifier, self._datamodule = classifier, datamodule
        if download.missing(str(datamodule.name), datamodule.root):
            raise DataError(f"{datamodule.root}: no data set {datamodule.name} here. Give its folder with --data-root.")
        datamodule.setup()
        images, _ = datamodule.training_data(torch.device("cpu"))
        rows = datamodule.train_rows
        count = min(REFERENCES, len(rows) if len(datamodule.val_rows) else (len(rows) + 1) // 2)
        others = datamodule.val_rows if len(datamodule.val_rows) else rows[count:]
        self._references = self._directions(images[rows[:count]])
        self._limit = float(self._nearest(images[others[:OTHERS]]).quantile(1 - SHARE)) if len(others) else -1.0

    def __call__(self, images: Tensor) -> Tensor:
        """Tell which of images (N, C, H, W) uint8 are unlike the training images, (N,)."""
        return self._nearest(images) < self._limit

    @torch.inference_mode()
    def _directions(self, images: Tensor) -> Tensor:
        """Last hidden layer (N, width), each row of length 1, of images (N, C, H, W) uint8."""
        *hidden, _ = self._classifier.eval_network
        values = self._datamodule.normalized(images).to(self._classifier.dtype)
        for layer in hidden:
            values = layer(values)
        return F.normalize(values.float())

    def _nearest(self, images: Tensor) -> Tensor:
        """Cosine of the angle to the nearest training image, (N,)."""
        parts = [(self._directions(some) @ self._references.T).max(dim=1).values for some in images.split(500)]
        return torch.cat(parts)
