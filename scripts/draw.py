"""Write a page to draw on into a run's folder, and open it in the browser; it shows the answer after each stroke.

Example: python scripts/draw.py outputs/fashion/hidden=512_1120-134153-7e20
"""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab import startup
from mlplab.data import download
from mlplab.errors import CheckpointError, DataError, reported
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder

if TYPE_CHECKING:
    from mlplab.data.splits import SplitDataset
    from mlplab.draw.page import Images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument("--no-open", action="store_true", help="only write the page")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: as in training)")
    arguments = parser.parse_args()
    with reported():
        path = write(run_folder.meant(arguments.run), arguments.data_root)
        print(run_folder.short(path))
        if not arguments.no_open and not webbrowser.open(path.resolve().as_uri()):
            print("No browser was found: open this file in one.", file=sys.stderr)


def write(run: Path, data_root: Path | None) -> Path:
    """Write the page, replacing only a page of mlplab, and return its path."""
    run_folder.find(run)
    startup.import_torch()  # takes a second; a missing run is reported first
    from mlplab.draw import page
    from mlplab.model.export.plain_network import plain_network
    from mlplab.training import restore

    predictor, dataset = restore.load(run, data_root)
    path, info = run_folder.file_of(run, "draw.html"), dataset.info
    title, network = restore.title(run, predictor, dataset), plain_network(predictor, dataset)
    text = page.html(title, info, network, examples(dataset))
    try:
        atomic_write.write_own({path: text.encode()})
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}.") from error
    return path


def examples(dataset: "SplitDataset") -> "tuple[Images, Sequence[int]]":
    """Return test images (N, H, W) to start from, and their labels; none if the data set is not here."""
    from mlplab.draw import page

    try:
        if download.missing(dataset.key, dataset.root):
            raise DataError(f"{dataset.root}: the data set is not here. Give its folder with --data-root.")
        dataset.setup()
    except DataError as error:
        print(f"The page has no test images to start from. {error}", file=sys.stderr)
        return page.NO_IMAGES, []
    images, labels = dataset.test_data()
    rows = page.chosen(labels.tolist(), len(dataset.info.classes))
    return images[rows, 0].numpy(), labels[rows].tolist()


if __name__ == "__main__":
    main()
