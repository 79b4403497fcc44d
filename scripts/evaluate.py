"""Score a run or a checkpoint: loss, accuracy, and a table by class.

python scripts/evaluate.py outputs/fashion/hidden=512_1120-134153-gr7f
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab import startup
from mlplab.errors import reported
from mlplab.runs import folder as run_folder

if TYPE_CHECKING:
    from mlplab.data.datamodule import ImageDataModule
    from mlplab.model.evaluation import Scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help="which images (default: test)"
    )
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: that of the training)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--pictures", action="store_true", help="draw confusion.png and mistakes.png into the run folder"
    )
    arguments = parser.parse_args()
    with reported():
        evaluate(
            run_folder.meant(arguments.run), arguments.split, arguments.data_root, arguments.json, arguments.pictures
        )


def evaluate(run: Path, split: str, data_root: Path | None, as_json: bool, with_pictures: bool) -> None:
    startup.import_lightning()  # takes seconds, and --help does not need it
    from mlplab.model import evaluation
    from mlplab.training import restore

    classifier, datamodule = restore.load(run, data_root)
    datamodule.setup()
    scores = evaluation.score(classifier, datamodule.batches(split))
    show(scores, split, datamodule.info.classes, as_json)
    if with_pictures:
        draw(scores, split, datamodule, run)


def show(scores: "Scores", split: str, classes: tuple[str, ...], as_json: bool) -> None:
    columns = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
    images = scores.confusion.sum(dim=1)
    if as_json:
        by_class = {
            name: {"images": int(images[k]), **{column: float(values[k]) for column, values in columns.items()}}
            for k, name in enumerate(classes)
        }
        figures = {f"{split}/loss": scores.loss, f"{split}/acc": scores.acc}
        print(json.dumps({"metrics": figures, "classes": by_class, "confusion": scores.confusion.tolist()}, indent=2))
        return
    print(f"{split} accuracy {scores.acc:.2%}, loss {scores.loss:.4f}, {int(images.sum()):,} images\n")
    width = max(len("class"), *map(len, classes))
    print(f"{'class':{width}}  images  precision  recall      f1  most often taken for")
    for k, name in enumerate(classes):
        shares = "  ".join(f"{float(values[k]):6.4f}" for values in columns.values())
        print(
            f"{name:{width}}  {int(images[k]):6,}     {shares}  {_taken_for(scores.confusion[k].tolist(), k, classes)}"
        )


def draw(scores: "Scores", split: str, datamodule: "ImageDataModule", run: Path) -> None:
    """Of the test, named as a run names its own; of others, their split stands in front."""
    from mlplab.plots import canvas, from_tensors
    from mlplab.plots import run as run_plots
    from mlplab.training import restore

    classes = datamodule.info.classes
    prefix = "" if split == "test" else f"{split}_"
    about = f"{split} images, {restore.weights(run)}"
    figures = {
        "confusion.png": run_plots.confusion(scores.confusion.numpy(), classes, about),
        "mistakes.png": from_tensors.mistakes(scores, datamodule.originals(split), classes, about),
    }
    paths = {restore.picture(run, prefix + name): figure for name, figure in figures.items()}
    canvas.save(paths)
    for path in paths:
        print(run_folder.short(path), file=sys.stderr)


def _taken_for(row: list[int], k: int, classes: tuple[str, ...]) -> str:
    """The class that most images of class k are confused with, and their number."""
    count, name = max((count, name) for j, (count, name) in enumerate(zip(row, classes, strict=True)) if j != k)
    return f"{name} ({count})" if count else ""


if __name__ == "__main__":
    main()
