"""Export a trained network: one file that takes raw pixels (N, H, W) uint8 and gives probabilities (N, K).

Example: python scripts/export.py outputs/fashion/hidden=512_1120-134153-7e20 --to onnx
         python scripts/export.py last --to numpy --out digits.npz
"""

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab import startup
from mlplab.errors import CheckpointError, ConfigError, DataError, reported
from mlplab.runs import atomic_write
from mlplab.runs import folder as run_folder

if TYPE_CHECKING:
    from torch import Tensor

    from mlplab.data.splits import SplitDataset

SUFFIXES = {"onnx": [".onnx"], "torch": [".pt2"], "numpy": [".npz", ".py"]}
TOLERANCE = 1e-5  # of a probability


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, .ckpt file, or `last` for the newest run")
    parser.add_argument(
        "--to", choices=tuple(SUFFIXES), required=True,
        help="onnx: for other programs and languages; torch: torch.export, for Python and C++ without mlplab;"
        " numpy: arrays, and a short program beside them",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: network.* in the run folder)")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets (default: as in training)")
    arguments = parser.parse_intermixed_args()
    with reported():
        arguments.run = run_folder.meant(arguments.run)
        export(arguments)


def export(arguments: argparse.Namespace) -> None:
    """Write the files if they give the same probabilities as the network.

    Raises:
        CheckpointError: if they do not.
        ConfigError: if a file cannot be written or is not mlplab's, a library is missing, or a layer has no equivalent.
    """
    suffixes = SUFFIXES[arguments.to]
    paths = to_write(arguments)
    startup.import_torch()  # takes seconds; what is missing or wrong is reported first
    from mlplab.model.export import check
    from mlplab.model.export.plain_network import plain_network
    from mlplab.training import restore

    predictor, dataset = restore.load(arguments.run, arguments.data_root)
    exporter = import_module(f"mlplab.model.export.{arguments.to}_file")
    contents: list[bytes] = exporter.contents(plain_network(predictor, dataset))
    images, kind = to_compare(dataset)
    by_suffix = dict(zip(suffixes, contents, strict=True))
    difference = check.difference(exporter, by_suffix, predictor, dataset, images)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"{arguments.run}: the probabilities of the export differ from the network's by {difference:.1g}, more than"
            f" {TOLERANCE:g}. Nothing was written."
        )
    try:
        atomic_write.write_own(dict(zip(paths, contents, strict=True)))
    except OSError as error:
        raise ConfigError(f"{paths[0]}: cannot be written: {error.strerror}. Give another file with --out.") from error
    for path, content in zip(paths, contents, strict=True):
        print(f"{run_folder.short(path)}  {len(content) / 1000:,.0f} kB")
    print(f"same probabilities as the network on {len(images):,} {kind}, within {difference:.1g}")


def to_write(arguments: argparse.Namespace) -> list[Path]:
    """Return the files to write; called before anything slow is imported.

    Raises:
        ConfigError: if this cannot succeed.
    """
    run_folder.find(arguments.run)
    suffixes: list[str] = SUFFIXES[arguments.to]
    out: Path = arguments.out or run_folder.file_of(arguments.run, f"network{suffixes[0]}")
    if out.suffix != suffixes[0]:
        raise ConfigError(f"--out: must end with {suffixes[0]} for --to {arguments.to}, got {out}")
    if arguments.to == "onnx" and (missing := [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]):
        raise ConfigError(f"--to onnx: {' and '.join(missing)} not installed: pip install -e '.[export]'")
    paths = [out.with_suffix(suffix) for suffix in suffixes]
    atomic_write.require_place("--out", paths)
    return paths


def to_compare(dataset: "SplitDataset") -> "tuple[Tensor, str]":
    """Return images (N, C, H, W) uint8 and their kind: test images or, if these are missing, random pixels."""
    from mlplab.model.export import check

    try:
        return check.test_images(dataset), "test images"
    except DataError as error:
        print(f"Not compared on test images. {error}", file=sys.stderr)
        return check.random_images(dataset), "images of random pixels"


if __name__ == "__main__":
    main()
