"""Classify image files or test images: classes and probabilities.

Example: python scripts/predict.py outputs/fashion/hidden=512_1120-134153-7e20 shoe.png shirt.jpg
         python scripts/predict.py outputs/fashion/hidden=512_1120-134153-7e20 --test 0 15 --picture
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlplab import startup
from mlplab.config.datasets import TABLES
from mlplab.data import download, inputs
from mlplab.data.inputs import Input
from mlplab.errors import ConfigError, DataError, reported
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder

if TYPE_CHECKING:
    from torch import Tensor

    from mlplab.data.image_dataset import DatasetInfo
    from mlplab.data.splits import SplitDataset
    from mlplab.model.predictor import Predictor


class Answer(NamedTuple):
    input: Input
    probabilities: dict[str, float]  # by class, the most probable first
    doubt: str  # why the answer may be meaningless, or ""

    def line(self, width: int, top: int) -> str:
        said = "   ".join(f"{name} {p:.1%}" for name, p in list(self.probabilities.items())[:top])
        if self.doubt and self.input.things > 1 and not self.input.thing:
            said = f"{self.doubt}, which --several reads one by one; the largest: {said}"
        elif self.doubt:
            said = f"{self.doubt}; if anything: {said}"
        return f"{self.input.title:{width}}  {said}" + (f"   (it is {self.input.truth})" if self.input.truth else "")

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        return {
            "path": self.input.name,
            **({"thing": self.input.thing} if self.input.thing else {}),
            "class": next(iter(self.probabilities)),
            "probabilities": {name: self.probabilities[name] for name in classes},
            **({"doubt": self.doubt} if self.doubt else {}),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument("images", type=Path, nargs="*", help=f"image files, or tables of pixels ({', '.join(TABLES)})")
    parser.add_argument("--test", type=int, nargs="+", default=[], metavar="N", help="indices of test images, from 0")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: as in training)")
    parser.add_argument(
        "--background", choices=("auto", "light", "dark"), default="auto",
        help="background of the picture; the networks are trained on light shapes on black (default: detected)",
    )  # fmt: skip
    parser.add_argument("--several", action="store_true", help="classify all things in a picture, left to right")
    parser.add_argument(
        "--show-input", action="store_true", help="write the input of the network for a.png to a.png.input.png"
    )
    parser.add_argument("--top", type=int, metavar="N", help="classes to show for each image (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON, with the probabilities of all classes")
    parser.add_argument("--picture", action="store_true", help="draw the answers: predictions.png in the run folder")
    arguments = parser.parse_intermixed_args(inputs.numbers_last(sys.argv[1:]))
    if bool(arguments.images) == bool(arguments.test):
        parser.error("give image files, or --test with indices, for example --test 0 8")
    if arguments.top is not None and arguments.top < 1:
        parser.error(f"--top: must be at least 1, got {arguments.top}")
    if arguments.json and arguments.top:
        parser.error("--top: has no effect with --json, which has the probabilities of all classes")
    for_files = {"--background": arguments.background != "auto", "--several": arguments.several,
                "--show-input": arguments.show_input}  # fmt: skip
    if arguments.test and any(for_files.values()):
        names = ", ".join(name for name, is_given in for_files.items() if is_given)
        parser.error(f"{names}: no effect with --test, whose images are used as they are")
    with reported():
        arguments.run = run_folder.meant(arguments.run)
        predict(arguments)


def predict(arguments: argparse.Namespace) -> None:
    """Print the answers.

    Raises:
        DataError: after the answers, with a line for each file that could not be read.
    """
    run_folder.find(arguments.run)
    if arguments.test and (known := run_folder.data_of(arguments.run)):
        download.require(known[0], arguments.data_root or known[1])
    startup.import_torch()  # takes seconds; missing files are reported first
    import torch

    from mlplab.training import restore

    predictor, dataset = restore.load(arguments.run, arguments.data_root)
    classes, mistakes, answers = dataset.info.classes, list[str](), list[Answer]()
    if arguments.test:
        found = inputs.from_test_set(dataset, arguments.test)
    else:
        found = from_files(arguments, dataset.info, mistakes)
    if found:
        images = torch.stack([one.image for one in found])
        with torch.inference_mode():
            probabilities = predictor.predict_step(dataset.normalized(images))  # (N, K)
        answers = answered(found, probabilities, unlike(images, predictor, dataset), classes)
    if arguments.json:
        print(json.dumps([answer.as_json(classes) for answer in answers], indent=2))
    else:
        width = max((len(one.title) for one in found), default=0)
        for answer in answers:
            print(answer.line(width, arguments.top or 3))
    if arguments.picture and found:
        from mlplab.plots import canvas, predictions

        titles = [f"{one.name}: true class {one.truth}" if one.truth else Path(one.title).name for one in found]
        labels = [classes.index(one.truth) for one in found] if arguments.test else None
        title = restore.title(arguments.run, predictor, dataset)
        about = f"predictions, {restore.about(arguments.run)}"
        path = run_folder.file_of(arguments.run, "predictions.png")
        arrays = images.numpy(), probabilities.numpy()
        canvas.save({path: predictions.predictions(*arrays, classes, titles, labels, title, about)})
        print(run_folder.short(path), file=sys.stderr)
    if mistakes:
        raise DataError("\n".join(mistakes))


def from_files(arguments: argparse.Namespace, info: "DatasetInfo", mistakes: list[str]) -> list[Input]:
    """Return the readable images; add a line to `mistakes` for each other file."""
    framing = {"--background": arguments.background != "auto", "--several": arguments.several}
    inputs.require_framed(info, [option for option, is_given in framing.items() if is_given])
    found = list[Input]()
    for path in arguments.images:
        try:
            if path.suffix.lower() in TABLES:
                found += from_table(path, info)
                continue
            of_file = inputs.from_file(path, info, arguments.background, arguments.several)
            if arguments.show_input:
                write_input([one.image for one in of_file], path.with_name(f"{path.name}.input.png"))
        except (ConfigError, DataError) as error:
            mistakes.append(str(error))
        else:
            found += of_file
    return found


def from_table(path: Path, info: "DatasetInfo") -> list[Input]:
    """Return the images of a table without labels, such as the test set of a contest, named by row from 1."""
    import torch

    from mlplab.data.own import csv_table

    images = torch.from_numpy(csv_table.images(path, info.image_shape))
    return [Input(f"{path}:{row}", image) for row, image in enumerate(images, start=1)]


def write_input(images: Sequence["Tensor"], path: Path) -> None:
    """Write images (C, H, W) side by side, pixel by pixel, replacing only a picture of mlplab."""
    import torch
    from PIL import Image, PngImagePlugin

    mark, file = PngImagePlugin.PngInfo(), io.BytesIO()
    mark.add_text("Software", "mlplab predict.py")
    beside = torch.cat(list(images), dim=2).movedim(0, 2)  # N of (C, H, W) -> (H, N*W, C)
    Image.fromarray((beside.squeeze(2) if beside.shape[2] == 1 else beside).numpy()).save(file, "png", pnginfo=mark)
    try:
        atomic_write.write_own({path: file.getvalue()})
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}.") from error


def unlike(images: "Tensor", predictor: "Predictor", dataset: "SplitDataset") -> list[bool]:
    """Tell which images (N, C, H, W) are unlike the training images; none, if these are not available."""
    from mlplab.model.outliers import Outliers

    try:
        found: list[bool] = Outliers(predictor, dataset)(images).tolist()
        return found
    except DataError as error:
        print(f"Not compared with the training images. {error}", file=sys.stderr)
        return [False] * len(images)


def answered(
    inputs: Sequence[Input], probabilities: "Tensor", are_unlike: Sequence[bool], classes: Sequence[str]
) -> list[Answer]:
    answers = []
    for one, row, is_unlike in zip(inputs, probabilities, are_unlike, strict=True):
        best = row.sort(descending=True, stable=True)
        by_class = {classes[k]: p for k, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)}
        doubt = "unlike the training images" if is_unlike else ""
        if one.things > 1 and not one.thing:
            doubt = f"{one.things} separate things"
        answers.append(Answer(one, by_class, doubt))
    return answers


if __name__ == "__main__":
    main()
