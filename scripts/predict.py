"""Say what image files show: class names and probabilities.

python scripts/predict.py outputs/fashion/2026-11-20_12-00-00-000000 shoe.png shirt.jpg
"""

import argparse
import json
from pathlib import Path

from mlplab import process
from mlplab.errors import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, or .ckpt file")
    parser.add_argument("images", type=Path, nargs="+", help="image files of any size, in colour or grey")
    parser.add_argument(
        "--background", choices=("auto", "light", "dark"), default="auto",
        help="of the images; the networks are trained on bright things on a black ground (default: look at the border)",
    )  # fmt: skip
    parser.add_argument(
        "--top", type=_positive, default=3, metavar="N", help="classes to show for each image (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with the probabilities of all classes")
    arguments = parser.parse_args()
    with reported():
        predict(arguments)


def predict(arguments: argparse.Namespace) -> None:
    process.import_lightning()  # takes seconds, and --help does not need it
    import torch

    from mlplab import checkpoints, image_files

    classifier, datamodule = checkpoints.load(arguments.run)
    classes = datamodule.info.classes
    images = torch.stack(image_files.read_all(arguments.images, datamodule.info, arguments.background))
    with torch.inference_mode():
        probabilities = classifier.predict_step(datamodule.normalized(images))  # (B, K)
    if arguments.json:
        answers = [
            {
                "path": str(path),
                "class": classes[int(row.argmax())],
                "probabilities": dict(zip(classes, row.tolist(), strict=True)),
            }
            for path, row in zip(arguments.images, probabilities, strict=True)
        ]
        print(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    width = max(len(str(path)) for path in arguments.images)
    for path, row in zip(arguments.images, probabilities, strict=True):
        top = row.topk(min(arguments.top, len(classes)))
        named = (f"{classes[k]} {p:.1%}" for p, k in zip(top.values.tolist(), top.indices.tolist(), strict=True))
        print(f"{path!s:{width}}  {'   '.join(named)}")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1, got {text}")
    return int(text)


if __name__ == "__main__":
    main()
