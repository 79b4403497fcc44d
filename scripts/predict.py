"""Say what image files show: class names and probabilities.

python scripts/predict.py outputs/fashion/1120-134153-gr7f shoe.png shirt.jpg
python scripts/predict.py outputs/fashion/1120-134153-gr7f --test 0 15 --picture
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlplab import startup
from mlplab.errors import ConfigError, DataError, reported
from mlplab.runs import folder as run_folder

if TYPE_CHECKING:
    from torch import Tensor

    from mlplab.data.datamodule import ImageDataModule
    from mlplab.data.datasets import DatasetInfo
    from mlplab.model.classifier import Classifier

WRITER = "mlplab predict.py"  # in pictures of inputs, which are replaced; no other file is


class Input(NamedTuple):
    """One image that is classified."""

    name: str
    image: "Tensor"  # (C, H, W) uint8
    truth: str = ""  # its class, of a test image
    thing: int = 0  # its place in the picture from 1, if all things in it are read
    things: int = 1  # in the picture

    @property
    def title(self) -> str:
        return f"{self.name}, {self.thing}" if self.thing and self.things > 1 else self.name


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
        help="of the images; the networks are trained on bright things on a black ground (default: look at them)",
    )  # fmt: skip
    parser.add_argument("--several", action="store_true", help="read all separate things in a picture, left to right")
    parser.add_argument(
        "--show-input", action="store_true", help="write what the network saw of a.png beside it, a.png.input.png"
    )
    parser.add_argument("--top", type=_positive, metavar="N", help="classes to show for each image (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON, with the probabilities of all classes")
    parser.add_argument(
        "--picture",
        action="store_true",
        help="draw each image with its probabilities, predictions.png in the run folder",
    )
    arguments = parser.parse_intermixed_args(_places_last(sys.argv[1:]))
    if bool(arguments.images) == bool(arguments.test):
        parser.error("give image files, or --test and places of test images")
    if arguments.json and arguments.top:
        parser.error("--top: of no matter with --json, which has the probabilities of all classes")
    for_files = {"--background": arguments.background != "auto", "--several": arguments.several,
                "--show-input": arguments.show_input}  # fmt: skip
    if arguments.test and any(for_files.values()):
        names = ", ".join(name for name, is_given in for_files.items() if is_given)
        parser.error(f"{names}: of no matter with --test, whose images are used as they are")
    with reported():
        arguments.run = run_folder.meant(arguments.run)
        predict(arguments)


def predict(arguments: argparse.Namespace) -> None:
    """Print the answers.

    Raises:
        DataError: after that, with a line for each file that could not be read.
    """
    startup.import_lightning()  # takes seconds, and --help does not need it
    import torch

    from mlplab.training import restore

    classifier, datamodule = restore.load(arguments.run, arguments.data_root)
    classes = datamodule.info.classes
    mistakes = list[str]()
    if arguments.test:
        inputs = of_test_set(datamodule, arguments.test)
    else:
        inputs = of_files(arguments, datamodule.info, mistakes)
    if inputs:
        images = torch.stack([one.image for one in inputs])
        with torch.inference_mode():
            probabilities = classifier.predict_step(datamodule.normalized(images))  # (N, K)
        doubts = doubts_of(inputs, unlike(images, classifier, datamodule))
        if not arguments.json:
            show(inputs, probabilities, doubts, classes, arguments.top or 3)
    if arguments.json:
        answers = [
            {
                "path": one.name,
                **({"thing": one.thing} if one.thing else {}),
                "class": classes[int(row.argmax())],
                "probabilities": dict(zip(classes, row.tolist(), strict=True)),
                **({"doubt": doubt} if doubt else {}),
            }
            for one, row, doubt in (zip(inputs, probabilities, doubts, strict=True) if inputs else ())
        ]
        print(json.dumps(answers, indent=2))
    if arguments.picture and inputs:
        from mlplab.plots import canvas, predictions

        titles = [f"{one.name}: true class {one.truth}" if one.truth else Path(one.title).name for one in inputs]
        labels = [classes.index(one.truth) for one in inputs] if arguments.test else None
        title = f"predictions, {restore.weights(arguments.run)}"
        path = restore.picture(arguments.run, "predictions.png")
        arrays = images.numpy(), probabilities.numpy()
        canvas.save({path: predictions.predictions(*arrays, classes, titles, labels, title)})
        print(run_folder.short(path), file=sys.stderr)
    if mistakes:
        raise DataError("\n".join(mistakes))


def of_test_set(datamodule: "ImageDataModule", places: list[int]) -> list[Input]:
    """Raises ConfigError if there is no image in one of these places."""
    datamodule.setup()
    images, labels = datamodule.test_data()
    outside = [place for place in places if not 0 <= place < len(images)]
    if outside:
        raise ConfigError(f"--test: must be from 0 to {len(images) - 1}, got {', '.join(map(str, outside))}")
    classes = datamodule.info.classes
    return [Input(f"test/{place}", images[place], classes[int(labels[place])]) for place in places]


def of_files(arguments: argparse.Namespace, info: "DatasetInfo", mistakes: list[str]) -> list[Input]:
    """What can be read; for each file that cannot, a line is added to `mistakes`."""
    from mlplab.data import image_files

    inputs = []
    for path in arguments.images:
        try:
            images, things = image_files.read(path, info, arguments.background, arguments.several)
            if arguments.show_input:
                write_input(images, path.with_name(f"{path.name}.input.png"))
        except DataError as error:
            mistakes.append(str(error))
            continue
        inputs += [
            Input(str(path), image, thing=thing if arguments.several else 0, things=things)
            for thing, image in enumerate(images, start=1)
        ]
    return inputs


def write_input(images: "Tensor", path: Path) -> None:
    """Draw images (N, C, H, W) beside each other, pixel for pixel.

    Raises:
        DataError: if the file cannot be written, or is there and was not written here.
    """
    from PIL import Image, PngImagePlugin

    from mlplab.runs import atomic_write

    about = PngImagePlugin.PngInfo()
    about.add_text("Software", WRITER)
    file = io.BytesIO()
    Image.fromarray(images.movedim(0, 2).flatten(2).squeeze(0).numpy()).save(file, "png", pnginfo=about)
    try:
        if path.exists():
            with path.open("rb") as before:
                if WRITER.encode() not in before.read(200):
                    raise DataError(f"{path}: is there, and was not written by --show-input. Move it away.")
        atomic_write.write(path, file.getvalue(), sync=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}.") from error


def unlike(images: "Tensor", classifier: "Classifier", datamodule: "ImageDataModule") -> list[bool]:
    """Which of images (N, C, H, W) are unlike the training images; none, where these are not at hand."""
    from mlplab.model.outliers import Outliers

    try:
        found: list[bool] = Outliers(classifier, datamodule)(images).tolist()
        return found
    except DataError as error:
        print(f"Not compared with the training images. {error}", file=sys.stderr)
        return [False] * len(images)


def doubts_of(inputs: Sequence[Input], are_unlike: Sequence[bool]) -> list[str]:
    """Why an answer may mean nothing, for each of them; mostly an empty text."""
    return [
        f"{one.things} separate things" if one.things > 1 and not one.thing
        else "unlike the training images" if is_unlike else ""
        for one, is_unlike in zip(inputs, are_unlike, strict=True)
    ]  # fmt: skip


def show(
    inputs: Sequence[Input], probabilities: "Tensor", doubts: Sequence[str], classes: Sequence[str], top: int
) -> None:
    width = max(len(one.title) for one in inputs)
    for one, row, doubt in zip(inputs, probabilities, doubts, strict=True):
        best = row.topk(min(top, len(classes)))
        shares = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        said = "   ".join(f"{classes[k]} {p:.1%}" for p, k in shares)
        if one.things > 1 and doubt and not one.thing:
            said = f"{doubt}, which --several reads one by one; the largest: {said}"
        elif doubt:
            said = f"{doubt}; if anything: {said}"
        print(f"{one.title:{width}}  {said}{one.truth and f'   (it is {one.truth})'}")


def _places_last(words: list[str]) -> list[str]:
    """Command words with `--test` and its numbers at the end, where they take no run for one of them."""
    if "--test" not in words:
        return words
    start = end = words.index("--test")
    while end + 1 < len(words) and words[end + 1].lstrip("-").isdigit():
        end += 1
    return words[:start] + words[end + 1 :] + words[start : end + 1]


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1, got {text}")
    return int(text)


if __name__ == "__main__":
    main()
