"""How own pictures are framed, which `data.prepare` names after a data set whose images are framed so."""

from mlplab.config.datasets import DATASETS
from mlplab.data.datasets import DatasetInfo


def frame(prepare: str, shape: tuple[int, int, int], classes: tuple[str, ...] = ()) -> DatasetInfo:
    """Return the facts of images (C, H, W) framed like a data set in proportion, or "none"; moments are not set."""
    like = DATASETS.get(prepare)
    if like is None:
        return DatasetInfo(shape, classes, 0.0, 1.0, max(shape[1:]), False, as_they_are=True)
    object_size = round(min(shape[1:]) * like.object_size / like.image_shape[1])
    return DatasetInfo(shape, classes, 0.0, 1.0, object_size, like.centred_by_mass)
