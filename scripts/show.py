"""Draw a data set: examples, one image as numbers, counts, mean images, and a histogram of pixel values.

Example: python scripts/show.py data=fashion --image 7
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab import startup
from mlplab.cli.compose import compose
from mlplab.data import download
from mlplab.errors import ConfigError, reported

if TYPE_CHECKING:
    from torch import Tensor

    from mlplab.config.schema import Config
    from mlplab.data.splits import SplitDataset

OF_TRAINING = ("data.batch_size",)
CONF = Path(__file__).resolve().parents[1] / "conf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="as for train.py: data=fashion data.root=DIR",
    )
    parser.add_argument(
        "--image",
        type=int,
        default=0,
        metavar="N",
        help="index of the training image to show as numbers (default: 0)",
    )
    arguments = parser.parse_intermixed_args()
    with reported():
        refuse_other_than_data(arguments.overrides)
        show(compose(arguments.overrides, CONF), arguments.image)


def refuse_other_than_data(overrides: list[str]) -> None:
    keys = {word: word.partition("=")[0] for word in overrides}
    others = [
        word for word, key in keys.items() if key.partition(".")[0] not in ("data", "experiment") or key in OF_TRAINING
    ]
    if others:
        raise ConfigError(
            f"{', '.join(others)}: has no effect on these pictures. Give data=..., data.normalize=..., data.root=...,"
            " data.val_size=... or experiment=..."
        )


def show(config: "Config", index: int) -> None:
    download.require(config.data.key, Path(config.data.root))
    startup.import_torch()  # takes a second, and is not needed by --help
    from mlplab.data.splits import SplitDataset

    data = SplitDataset.of(config.data.model_dump())
    data.setup()
    images = len(data.train_rows) + len(data.val_rows)
    if not 0 <= index < images:
        raise ConfigError(f"--image: must be from 0 to {images - 1}, got {index}")
    describe(data)
    draw(data, index, Path("outputs", "data", config.data.label))


def used(data: "SplitDataset") -> "tuple[Tensor, Tensor]":
    """Return the images (N, C, H, W) and labels (N,) for training and validation, in the order of the data set."""
    import torch

    rows = torch.cat([data.train_rows, data.val_rows]).sort().values
    images, _ = data.train_data()
    return images[rows], data.train_labels[rows]


def describe(data: "SplitDataset") -> None:
    """Print sizes, the range of the pixels before and after normalisation, and the images of each class."""
    import torch

    info = data.info
    (images, labels), (_, test_labels) = used(data), data.test_data()
    ends = torch.stack([images.min(), images.max()])
    low, high = data.normalized(ends.view(2, 1, 1, 1)).flatten().tolist()
    height, width = info.image_shape[1:]
    colours = " in colour" if info.image_shape[0] > 1 else ""
    print(
        f"{data.label}: {len(images):,} training images, {len(data.val_rows):,} of them to validate,"
        f" and {len(test_labels):,} test images\n"
        f"{height}x{width} pixels{colours} from {ends[0]} to {ends[1]}, mean {255 * info.mean:.2f},"
        f" standard deviation {255 * info.std:.2f}\n"
        f"the network gets {math.prod(info.image_shape)} numbers from {low:.3f} to {high:.3f}"
        f" (data.normalize={data.normalize})\n"
    )
    longest = max(len("class"), *map(len, info.classes))
    print(f"{'class':{longest}}  training    test")
    counts = zip(info.classes, labels.bincount().tolist(), test_labels.bincount().tolist(), strict=True)
    for name, training, test in counts:
        print(f"{name:{longest}}  {training:8,}  {test:6,}")


def draw(data: "SplitDataset", index: int, folder: Path) -> None:
    from mlplab.plots import canvas, dataset

    classes, name = data.info.classes, data.label
    images, labels = (part.numpy() for part in used(data))
    figures = {
        "examples.png": dataset.examples(images, labels, classes, name),
        "pixels.png": dataset.pixels(images[index], f"{name}, training image {index}: {classes[labels[index]]}"),
        "counts.png": dataset.counts(labels, data.test_data()[1].numpy(), classes, name),
        "means.png": dataset.means(images, labels, classes, name),
        "histogram.png": dataset.histogram(images, name),
    }
    canvas.save({folder / file: figure for file, figure in figures.items()})
    print("", *(folder / file for file in figures), sep="\n")


if __name__ == "__main__":
    main()
