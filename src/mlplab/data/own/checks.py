"""Requirements that own data must meet for training and test."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlplab.data.own.layout import Labelled, listed
from mlplab.errors import DataError


def checked(root: Path, labelled: Labelled) -> Labelled:
    """Return the data.

    Raises:
        DataError: with one to five lines that say what is wrong, and where.
    """
    if mistakes := list(_mistakes(labelled)):
        raise DataError(listed(f"{root}: {mistake}" for mistake in mistakes))
    return labelled


def _mistakes(labelled: Labelled) -> Iterator[str]:
    train, test, names = labelled
    counts = np.bincount(train.labels, minlength=len(names))
    if len(names) < 2:
        yield f"has only the class {names[0]}; expected at least two."
        return
    if test is not None and test.images.shape[1:] != train.images.shape[1:]:
        sizes = ["x".join(map(str, part.images.shape[1:])) for part in (train, test)]
        yield f"training images have {sizes[0]} numbers, test images {sizes[1]}; both must have the same size."
        return
    for k, name in enumerate(names):
        place = f" ({train.place(int(np.argmax(train.labels == k)))})"
        if test is not None and not counts[k]:
            place = f" ({test.place(int(np.argmax(test.labels == k)))})"
            yield f"the class {name} of the test set{place} has no training image."
        elif counts[k] < 2:
            other = "test" if test is None else "validate"
            yield f"the class {name} has one image{place}; at least two are needed, to train and to {other}."
        elif test is not None and not (test.labels == k).any():
            yield f"the class {name} has no test image, but {counts[k]:,} training images."
    if train.images.min() == train.images.max():
        yield f"all pixels have the same value, {train.images.min()}, so there is nothing to learn."
