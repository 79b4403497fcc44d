"""Compare two runs on the same test images: configuration, figures, classes, and images that only one gets right.

Example: python scripts/compare.py outputs/mnist/hidden=128_1120-134153-7e20 outputs/mnist/hidden=512_1120-134502-11ab
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlplab import startup
from mlplab.config import torch_signatures
from mlplab.config.schema import completed
from mlplab.data import download
from mlplab.errors import ConfigError, reported
from mlplab.runs import folder as run_folder
from mlplab.runs.result import Result, composed, read_result
from mlplab.sweeps.report import settings

if TYPE_CHECKING:
    from torch import Tensor

    from mlplab.data.splits import SplitDataset
    from mlplab.model.evaluation import Scores
    from mlplab.model.predictor import Predictor
    from mlplab.plots.comparison import OneSided

Settings: TypeAlias = dict[str, settings.Setting]


@dataclass(frozen=True)
class Compared:
    """A run, and its answers for the test images."""

    path: Path
    predictor: "Predictor"
    dataset: "SplitDataset"
    scores: "Scores"
    weights: str
    result: Result | None  # if these weights are the best of a complete run

    @property
    def is_right(self) -> "Tensor":
        return self.scores.probabilities.argmax(dim=1) == self.scores.labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument("second", type=Path, help="the same, of the same data set")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: as in training)")
    arguments = parser.parse_intermixed_args()
    with reported():
        compare(run_folder.meant(arguments.first), run_folder.meant(arguments.second), arguments.data_root)


def compare(first: Path, second: Path, data_root: Path | None) -> None:
    for path in (first, second):
        run_folder.find(path)
    known = [run_folder.data_of(path) for path in (first, second)]
    refuse_other_data(*(data and data[0] for data in known))
    for name, root in filter(None, known):
        download.require(name, data_root or root)
    startup.import_torch()  # takes seconds; missing files are reported first
    one, other = scored(first, data_root), scored(second, data_root)
    refuse_other_images(one.dataset, other.dataset)
    names = f"1: {run_folder.short(first)}", f"2: {run_folder.short(second)}"
    print(*names, "", sep="\n")
    only = one.is_right & ~other.is_right, other.is_right & ~one.is_right
    sections = (differences(first, second), figures(one, other), [verdict(*only)], by_class(one, other, only))
    print("\n\n".join("\n".join(lines) for lines in map(list, sections)), flush=True)
    draw(one, other, only)


def scored(path: Path, data_root: Path | None) -> Compared:
    from mlplab.model import evaluation
    from mlplab.training import restore

    predictor, dataset = restore.load(path, data_root)
    scores = evaluation.score(predictor, dataset.batches("test"))
    result = read_result(run_folder.folder_of(path)) if run_folder.find(path).stem == "best" else None
    return Compared(path, predictor, dataset, scores, restore.weights(path), result)


def refuse_other_data(one: str | None, other: str | None) -> None:
    if one is not None and other is not None and one != other:
        raise ConfigError(f"One run is of {one}, the other of {other}: give two runs of the same data set.")


def refuse_other_images(one: "SplitDataset", other: "SplitDataset") -> None:
    import torch

    refuse_other_data(one.name, other.name)
    pairs = zip(one.test_data(), other.test_data(), strict=True)
    if one.info.classes != other.info.classes or not all(torch.equal(*pair) for pair in pairs):
        raise ConfigError("The runs have different test images or classes: give two runs of the same data set.")


def configuration(path: Path) -> Settings | None:
    """Return the settings of a run that affect it; None if they were not recorded."""
    folder = run_folder.folder_of(path)
    result = read_result(folder)
    try:
        tree = completed(result.config if result else composed(folder))
        seed = tree.get("seed")
        return {**settings.of(tree), **({"seed": seed} if isinstance(seed, int) else {})}
    except ValueError:
        return None


def differences(first: Path, second: Path) -> Iterator[str]:
    one, other = configuration(first), configuration(second)
    if one is None or other is None:
        yield "The configuration of a run was not recorded beside its weights."
        return
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    keys = [key for key in keys if not (is_default(key, one, other) or is_default(key, other, one))]
    if not keys:
        yield "The configurations are equal."
        return
    yield from table(["configuration", "1", "2"], [[key, *(shown(key, run) for run in (one, other))] for key in keys])


def is_default(key: str, run: Settings, other: Settings) -> bool:
    """Tell whether the key is an argument of the optimizer or schedule that only this run sets, to torch's default."""
    found = argument(key, run) if key in run and key not in other else None
    return found is not None and found.default == run[key]


def argument(key: str, run: Settings) -> torch_signatures.Argument | None:
    """Return the argument of the run's optimizer or schedule that a key sets; None if it is none."""
    section, _, name = key.partition(".")
    classes = torch_signatures.BY_SECTION.get(section)
    return classes and classes().get(str(run.get(f"{section}.name")), {}).get(name)


def shown(key: str, run: Settings) -> str:
    """Format a setting; torch's default if the run does not set it."""
    found = argument(key, run)
    return settings.shown(key, run.get(key, None if found is None else found.default))


def figures(one: Compared, other: Compared) -> Iterator[str]:
    from mlplab.model.significance import CONFIDENCE

    columns = [_figures(run) for run in (one, other)]
    rows = [[name, *(column.get(name, "-") for column in columns)] for name in {**columns[0], **columns[1]}]
    yield from table(["figure", "1", "2"], rows)
    yield f"Intervals: {CONFIDENCE:.0%}, over test images (Wilson); training with another seed adds variation."


def _figures(run: Compared) -> dict[str, str]:
    from mlplab.model.significance import wilson

    images, right = len(run.scores.labels), int(run.is_right.sum())
    low, high = wilson(right, images)
    found = {
        "test accuracy %": f"{100 * right / images:.2f} ({100 * low:.2f} to {100 * high:.2f})",
        "test loss": f"{run.scores.loss:.4f}",
        "parameters": f"{sum(weight.numel() for weight in run.predictor.mlp.parameters()):,}",
        "weights": run.weights.removeprefix("weights of "),
    }
    if run.result is not None:
        val_acc = run.result.metrics.get("val/acc")
        found |= {} if val_acc is None else {"validation accuracy %": f"{100 * val_acc:.2f}"}
        found["train s"] = f"{run.result.fit_s:,.1f}"
    return found


def verdict(*only: "Tensor") -> str:
    from mlplab.model.significance import CONFIDENCE, mcnemar

    only_one, only_other = (int(images.sum()) for images in only)
    p = mcnemar(only_one, only_other)
    better = "1 is better than 2" if only_one > only_other else "2 is better than 1"
    told = better if p < 1 - CONFIDENCE else "they cannot be told apart"
    return (
        f"{only_one:,} images only 1 gets right, {only_other:,} only 2: {told},"
        f" p = {p:{'.3f' if p >= 0.001 else '.1e'}} (McNemar's exact test)"
    )


def by_class(one: Compared, other: Compared, only: Sequence["Tensor"]) -> Iterator[str]:
    labels, rows = one.scores.labels, list[list[str]]()
    for k, name in enumerate(one.dataset.info.classes):
        of_class = labels == k
        recalls = [f"{100 * float(run.scores.recall[k]):.2f}" for run in (one, other)]
        counts = [f"{int(part[of_class].sum()):,}" for part in only]
        rows.append([name, f"{int(of_class.sum()):,}", *recalls, *counts])
    yield from table(["class", "images", "1: right %", "2: right %", "only 1", "only 2"], rows)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (headings, *rows)
    ]


def draw(one: Compared, other: Compared, only: Sequence["Tensor"]) -> None:
    from mlplab.plots import canvas, comparison
    from mlplab.training import restore

    title = " | ".join(restore.title(run.path, run.predictor, run.dataset) for run in (one, other))
    runs = "\n".join(f"{place}: {restore.about(run.path)}" for place, run in enumerate((one, other), 1))
    note = (
        f"{runs}\n#: number for predict.py or explain.py --test; blue: true class; orange: wrong answer, surest first"
    )
    sides = [one_sided(only[0], other, "only 1 is right"), one_sided(only[1], one, "only 2 is right")]
    name = f"compare_{run_folder.folder_of(other.path).resolve().name}.png"
    path = run_folder.file_of(one.path, name)
    canvas.save({path: comparison.comparison(sides, one.dataset.info.classes, title, note)})
    print(run_folder.short(path), file=sys.stderr)


def one_sided(only: "Tensor", wrong: Compared, heading: str) -> "OneSided":
    """Collect the images `only` (N,) that one run gets right, ordered by how sure the other is of its wrong answer."""
    from mlplab.plots.comparison import MOST, OneSided

    sureness, answers = wrong.scores.probabilities.max(dim=1)
    rows = only.nonzero().flatten()
    rows = rows[sureness[rows].argsort(descending=True, stable=True)]
    some = f", the first {MOST}" if len(rows) > MOST else ""
    return OneSided(
        f"{heading}: {len(rows):,} {'image' if len(rows) == 1 else 'images'}{some}",
        wrong.dataset.originals("test")[rows[:MOST]].numpy(),
        wrong.scores.labels[rows].tolist(),
        answers[rows].tolist(),
        rows.tolist(),
    )


if __name__ == "__main__":
    main()
