"""Explain answers: probabilities, pixels for and against a class, the nearest training images, the smallest change
that flips the answer. Draws explain_NAME.png for each image into the run folder.

Example: python scripts/explain.py outputs/fashion/hidden=512_1120-134153-7e20 --test 3 17
         python scripts/explain.py last shoe.png
"""

import argparse
import re
import sys
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab import startup
from mlplab.data import download, inputs
from mlplab.data.inputs import Input
from mlplab.errors import DataError, reported
from mlplab.runs import folder as run_folder

if TYPE_CHECKING:
    from mlplab.data.splits import SplitDataset
    from mlplab.model.explanation import Change, Explainer, Neighbours
    from mlplab.plots.explanation import Reasons

NEIGHBOURS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument("images", type=Path, nargs="*", help="image files of any size, in colour or grey")
    parser.add_argument("--test", type=int, nargs="+", default=[], metavar="N", help="numbers of test images, from 0")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: as in training)")
    parser.add_argument(
        "--background", choices=("auto", "light", "dark"), default="auto",
        help="background of the picture (default: detected)",
    )  # fmt: skip
    arguments = parser.parse_intermixed_args(inputs.numbers_last(sys.argv[1:]))
    if bool(arguments.images) == bool(arguments.test):
        parser.error("give image files, or --test with numbers, for example --test 0 8")
    if arguments.test and arguments.background != "auto":
        parser.error("--background: no effect with --test, whose images are used as they are")
    with reported():
        arguments.run = run_folder.meant(arguments.run)
        explain(arguments)


def explain(arguments: argparse.Namespace) -> None:
    """Print and draw the explanations.

    Raises:
        DataError: after the others, with a line for each file that could not be read.
    """
    run_folder.find(arguments.run)
    if arguments.test and (known := run_folder.data_of(arguments.run)):
        download.require(known[0], arguments.data_root or known[1])
    startup.import_torch()  # takes seconds; missing files are reported first
    from mlplab.model.explanation import Explainer
    from mlplab.plots import canvas, explanation
    from mlplab.training import restore

    predictor, dataset = restore.load(arguments.run, arguments.data_root)
    inputs.require_framed(dataset.info, ["--background"] if arguments.background != "auto" else [])
    mistakes, found = list[str](), list[Input]()
    if arguments.test:
        found = inputs.from_test_set(dataset, arguments.test)
    for path in arguments.images:
        try:
            found += inputs.from_file(path, dataset.info, arguments.background)
        except DataError as error:
            mistakes.append(str(error))
    explainer = Explainer(predictor, dataset)
    title, about = restore.title(arguments.run, predictor, dataset), restore.about(arguments.run)
    has_data = bool(found) and has_training_images(dataset)
    for one, name in zip(found, file_names(found), strict=True):
        reasons = explained(one, explainer, dataset, has_data)
        truth = f"true class {one.truth}, " if one.truth else ""
        note = f"{Path(one.title).name if not one.truth else one.title}: {truth}{about}"
        path = run_folder.file_of(arguments.run, f"explain_{name}.png")
        canvas.save({path: explanation.explanation(reasons, dataset.info.classes, title, note)})
        print(run_folder.short(path), file=sys.stderr)
    if mistakes:
        raise DataError("\n".join(mistakes))


def has_training_images(dataset: "SplitDataset") -> bool:
    """Tell whether the training images are here; they are not downloaded for an explanation."""
    if download.missing(dataset.key, dataset.root):
        print(
            f"Without the nearest training images: {dataset.root}: the data set {dataset.label} is not here."
            " Give its folder with --data-root.",
            file=sys.stderr,
        )
        return False
    dataset.setup()
    return True


def file_names(found: Sequence[Input]) -> list[str]:
    """Name the pictures after the images: `test_3`, `shoe`; of two with the same name, the second is `shoe_2`."""
    stems = [re.sub(r"[^\w.=-]", "_", one.name if one.truth else Path(one.name).stem) for one in found]
    names = list[str]()
    for stem in stems:
        numbered = (f"{stem}_{number}" for number in count(2))
        names.append(next(name for name in chain([stem], numbered) if name not in names))
    return names


def explained(one: Input, explainer: "Explainer", dataset: "SplitDataset", has_data: bool) -> "Reasons":
    """Explain the answer for an image, and print the explanation."""
    from mlplab.plots.explanation import Reasons

    classes, images = dataset.info.classes, one.image.unsqueeze(0)
    probabilities = explainer.probabilities(images)[0]
    best = probabilities.sort(descending=True, stable=True).indices
    first = best[:2]
    attributions = explainer.input_times_gradient(images.expand(len(first), -1, -1, -1), first)
    change = explainer.smallest_change(one.image)
    shares = "   ".join(f"{classes[k]} {float(probabilities[k]):.1%}" for k in best[:3].tolist())
    print(f"{one.title}  {shares}" + (f"   (it is {one.truth})" if one.truth else ""))
    rows, labels, neighbours = list[int](), list[int](), images[:0]
    if has_data:
        near = explainer.nearest(images, NEIGHBOURS)
        training, all_labels = dataset.train_data()
        rows = near.rows[0].tolist()
        neighbours, labels = training[rows], all_labels[rows].tolist()
        print(f"  {nearest_in_words(near, labels, classes, int(best[0]))}")
    print(f"  {change_in_words(change, classes)}", flush=True)
    return Reasons(
        one.image.numpy(),
        probabilities.numpy(),
        classes.index(one.truth) if one.truth else None,
        first.tolist(),
        attributions.numpy(),
        neighbours.numpy(),
        labels,
        rows,
        None if change is None else change.image.numpy(),
        *(() if change is None else (change.answer, change.probability)),
    )


def nearest_in_words(near: "Neighbours", labels: Sequence[int], classes: Sequence[str], answer: int) -> str:
    cosines = near.cosines[0].tolist()
    numbers = ", ".join(
        f"{row}" if label == answer else f"{row} ({classes[label]})"
        for row, label in zip(near.rows[0].tolist(), labels, strict=True)
    )
    same = sum(label == answer for label in labels)
    return (
        f"nearest training images: {same} of {len(labels)} are {classes[answer]}, cosine {cosines[0]:.3f} to"
        f" {cosines[-1]:.3f}: {numbers}"
    )


def change_in_words(change: "Change | None", classes: Sequence[str]) -> str:
    if change is None:
        return "smallest change: none was found that flips the answer"
    touched, pixels = int(change.difference.any(dim=0).sum()), change.difference[0].numel()
    return (
        f"smallest change: {change.distance:.3f} (L2, pixels from 0 to 1), {change.root_mean_square:.1f} of 255 levels"
        f" a pixel (rms), at most {change.largest}, in {touched} of {pixels} pixels; then"
        f" {classes[change.answer]} {change.probability:.1%}"
    )


if __name__ == "__main__":
    main()
