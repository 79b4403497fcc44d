"""Say what image files show: class names and probabilities.

python scripts/predict.py outputs/fashion/1120-134153-gr7f shoe.png shirt.jpg
python scripts/predict.py outputs/fashion/1120-134153-gr7f --test 0 15 --picture
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab import process, run_folder
from mlplab.errors import ConfigError, reported

if TYPE_CHECKING:
    from torch import Tensor

    from mlplab.datamodule import ImageDataModule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument("images", type=Path, nargs="*", help="image files of any size, in colour or grey")
    parser.add_argument(
        "--test", type=int, nargs="+", default=[], metavar="N", help="images of the test set, by their places from 0"
    )
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: that of the training)")
    parser.add_argument(
        "--background", choices=("auto", "light", "dark"), default="auto",
        help="of the images; the networks are trained on bright things on a black ground (default: look at the border)",
    )  # fmt: skip
    parser.add_argument(
        "--top", type=_positive, default=3, metavar="N", help="classes to show for each image (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with the probabilities of all classes")
    parser.add_argument(
        "--picture",
        action="store_true",
        help="draw each image with its probabilities, predictions.png in the run folder",
    )
    arguments = parser.parse_args()
    if bool(arguments.images) == bool(arguments.test):
        parser.error("give image files, or --test and places of test images")
    with reported():
        arguments.run = run_folder.meant(arguments.run)
        predict(arguments)


def predict(arguments: argparse.Namespace) -> None:
    process.import_lightning()  # takes seconds, and --help does not need it
    import torch

    from mlplab import checkpoints, image_files

    classifier, datamodule = checkpoints.load(arguments.run, arguments.data_root)
    classes = datamodule.info.classes
    if arguments.test:
        names, images, truths = of_test_set(datamodule, arguments.test)
    else:
        names, truths = [str(path) for path in arguments.images], [""] * len(arguments.images)
        images = torch.stack(image_files.read_all(arguments.images, datamodule.info, arguments.background))
    with torch.inference_mode():
        probabilities = classifier.predict_step(datamodule.normalized(images))  # (B, K)
    if arguments.json:
        answers = [
            {
                "path": name,
                "class": classes[int(row.argmax())],
                "probabilities": dict(zip(classes, row.tolist(), strict=True)),
            }
            for name, row in zip(names, probabilities, strict=True)
        ]
        print(json.dumps(answers, indent=2))
    else:
        width = max(map(len, names))
        for name, truth, row in zip(names, truths, probabilities, strict=True):
            top = row.topk(min(arguments.top, len(classes)))
            shares = zip(top.values.tolist(), top.indices.tolist(), strict=True)
            said = "   ".join(f"{classes[k]} {p:.1%}" for p, k in shares)
            print(f"{name:{width}}  {said}{truth and f'   (it is {truth})'}")
    if arguments.picture:
        from mlplab import pictures
        from mlplab.figures import page

        titles = [
            f"{name}: true class {truth}" if truth else Path(name).name
            for name, truth in zip(names, truths, strict=True)
        ]
        labels = [classes.index(truth) for truth in truths] if any(truths) else None
        title = f"predictions, {checkpoints.weights(arguments.run)}"
        path = checkpoints.picture(arguments.run, "predictions.png")
        page.save({path: pictures.predicted(images, probabilities, classes, titles, labels, title)})
        print(run_folder.short(path), file=sys.stderr)


def of_test_set(datamodule: "ImageDataModule", places: list[int]) -> tuple[list[str], "Tensor", list[str]]:
    """Names, images (B, C, H, W) uint8 and true classes.

    Raises:
        ConfigError: if there is no image in one of these places.
    """
    datamodule.setup()
    images, labels = datamodule.test_data()
    outside = [place for place in places if not 0 <= place < len(images)]
    if outside:
        raise ConfigError(f"--test: must be from 0 to {len(images) - 1}, got {', '.join(map(str, outside))}")
    classes = datamodule.info.classes
    return [f"test/{place}" for place in places], images[places], [classes[int(k)] for k in labels[places]]


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1, got {text}")
    return int(text)


if __name__ == "__main__":
    main()
