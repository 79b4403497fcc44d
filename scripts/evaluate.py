"""Score a run or a checkpoint: loss, accuracy, and a table by class.

Example: python scripts/evaluate.py outputs/fashion/hidden=512_1120-134153-7e20 --pictures --csv answers.csv
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab import startup
from mlplab.data import download
from mlplab.errors import ConfigError, reported
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder

if TYPE_CHECKING:
    from mlplab.data.splits import SplitDataset
    from mlplab.model.evaluation import Scores
    from mlplab.model.predictor import Predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="images (default: test)")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: as in training)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--pictures", action="store_true", help="draw confusion.png and mistakes.png into the run folder"
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE",
        help="write a row for each image: its number in the data, true class, answer, and the probability of each"
        " class",
    )  # fmt: skip
    arguments = parser.parse_intermixed_args()
    with reported():
        arguments.run = run_folder.meant(arguments.run)
        evaluate(arguments)


def evaluate(arguments: argparse.Namespace) -> None:
    run_folder.find(arguments.run)
    if arguments.csv:
        atomic_write.require_place("--csv", [arguments.csv])
    if known := run_folder.data_of(arguments.run):
        download.require(known[0], arguments.data_root or known[1])
    startup.import_torch()  # takes seconds; missing files are reported first
    from mlplab.model import evaluation
    from mlplab.training import restore

    predictor, dataset = restore.load(arguments.run, arguments.data_root)
    scores = evaluation.score(predictor, dataset.batches(arguments.split))
    show = print_json if arguments.json else print_table
    show(scores, arguments.split, dataset.info.classes)
    if arguments.csv:
        write_table(arguments.csv, dataset.rows(arguments.split).tolist(), scores, dataset.info.classes)
    if arguments.pictures:
        draw(scores, arguments.split, predictor, dataset, arguments.run)


def print_json(scores: "Scores", split: str, classes: tuple[str, ...]) -> None:
    columns = [column.tolist() for column in (scores.confusion.sum(dim=1), scores.precision, scores.recall, scores.f1)]
    by_class = {
        name: dict(zip(("images", "precision", "recall", "f1"), row, strict=True))
        for name, *row in zip(classes, *columns, strict=True)
    }
    metrics = {f"{split}/loss": scores.loss, f"{split}/acc": scores.acc}
    print(json.dumps({"metrics": metrics, "classes": by_class, "confusion": scores.confusion.tolist()}, indent=2))


def print_table(scores: "Scores", split: str, classes: tuple[str, ...]) -> None:
    images = scores.confusion.sum(dim=1)
    print(f"{split} accuracy {scores.acc:.2%}, loss {scores.loss:.4f}, {int(images.sum()):,} images\n")
    width = max(len("class"), *map(len, classes))
    print(f"{'class':{width}}  images  precision  recall      f1  most often taken for")
    for k, name in enumerate(classes):
        shares = "  ".join(f"{float(column[k]):6.4f}" for column in (scores.precision, scores.recall, scores.f1))
        count, other = max((int(n), classes[j]) for j, n in enumerate(scores.confusion[k]) if j != k)
        print(f"{name:{width}}  {int(images[k]):6,}     {shares}  {f'{other} ({count})' if count else ''}")


def write_table(path: Path, numbers: Sequence[int], scores: "Scores", classes: Sequence[str]) -> None:
    """Write a row for each image, replacing only a table of mlplab."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["number", "true", "answer", *(f"p_{name}" for name in classes)])
    answers = scores.probabilities.argmax(dim=1).tolist()
    for number, label, answer, row in zip(
        numbers, scores.labels.tolist(), answers, scores.probabilities.tolist(), strict=True
    ):
        table.writerow([number, classes[label], classes[answer], *(f"{p:.7g}" for p in row)])
    try:
        atomic_write.write_own({path: file.getvalue().encode()})
    except OSError as error:
        raise ConfigError(f"--csv: {path}: cannot be written: {error.strerror}.") from error
    print(run_folder.short(path), file=sys.stderr)


def draw(scores: "Scores", split: str, predictor: "Predictor", dataset: "SplitDataset", run: Path) -> None:
    """Draw the same pictures as a run does after its test; those of another split are named after the split."""
    from mlplab.model.summary import network_name
    from mlplab.plots import canvas, from_tensors
    from mlplab.plots import run as run_plots
    from mlplab.training import restore

    classes = dataset.info.classes
    prefix = "" if split == "test" else f"{split}_"
    title = f"{dataset.label}, {network_name(predictor.mlp)}, {split} {100 * scores.acc:.2f} %"
    about, images = f"{split} images, {restore.about(run)}", dataset.originals(split)
    figures = {
        "confusion.png": run_plots.confusion(scores.confusion.numpy(), classes, title, about),
        "mistakes.png": from_tensors.mistakes(scores, images, classes, title, about, split),
    }
    paths = {run_folder.file_of(run, prefix + name): figure for name, figure in figures.items()}
    canvas.save(paths)
    for path in paths:
        print(run_folder.short(path), file=sys.stderr)


if __name__ == "__main__":
    main()
