"""A page to draw on, in one file that needs neither a server nor a network connection."""

import base64
import io
import json
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from unicodedata import category

import numpy as np
import numpy.typing as npt
from PIL import Image

from mlplab.data.image_dataset import DatasetInfo
from mlplab.draw.activations import expression
from mlplab.draw.weights import packed
from mlplab.errors import CheckpointError
from mlplab.model.export.plain_network import PlainNetwork

SCRIPTS = ("framing.js", "network.js", "page.js")
FORBIDDEN = '<>:"/\\|?*~'
EXAMPLES = 20  # test images to start from
Images = npt.NDArray[np.uint8]  # (N, H, W)
NO_IMAGES: Images = np.zeros((0, 1, 1), np.uint8)


def html(title: str, info: DatasetInfo, network: PlainNetwork, examples: tuple[Images, Sequence[int]]) -> str:
    """Return the page.

    Args:
        title: names the network.
        examples: test images to start from, and their labels.

    Raises:
        CheckpointError: if pictures are not prepared by cutting out what is drawn, or have colours, or the page cannot
            compute the activation.
    """
    channels, height, width = info.image_shape
    if channels != 1 or info.as_they_are:
        raise CheckpointError(
            "The page cuts out what is drawn, in grey, but this network takes pictures as they are.\n"
            "Train one with data.prepare=mnist to draw for it."
        )
    names = [escape(name) for name in info.classes]
    frame = {"height": height, "width": width, "size": info.object_size, "byMass": info.centred_by_mass}
    frame["fills"] = info.object_size >= max(height, width)
    run = {"info": frame, "classes": info.classes, "files": for_files(info.classes), "layers": packed(network)}
    units = [len(layer.bias) for layer in network.layers]
    labels = ["first hidden layer", *(f"hidden layer {n}" for n in range(2, len(units)))][: len(units) - 1]
    maps = [f"{label}: {n} units" for label, n in zip([*labels, "logits, as probabilities"], units, strict=True)]
    return Template(_file("page.html")).substitute(
        title=escape(title),
        css=_file("page.css"),
        size=f"{height}x{width}",
        bars="".join(f"<button><span>{name}</span><span></span><span></span></button>\n" for name in names),
        options="".join(f'<option value="{k}">{name}</option>' for k, name in enumerate(names)),
        layers="-".join(map(str, (height * width, *units))),
        maps="".join(f'<p class="hint">{text}</p><canvas class="units"></canvas>\n' for text in maps),
        examples=_examples(*examples, names),
        run=json.dumps(run).replace("<", "\\u003c"),  # </script> and <!-- would be read as HTML
        activations=", ".join(f"x => {expression(layer.activation)}" for layer in network.layers),
        js="".join(map(_file, SCRIPTS)),
    )


def for_files(classes: Sequence[str]) -> list[str]:
    """Return class names for file names: - replaces characters that systems or browsers forbid; no two are equal."""
    found = list[str]()
    for number, name in enumerate(classes):
        allowed = ("-" if letter in FORBIDDEN or category(letter).startswith("C") else letter for letter in name)
        safe = re.sub(r"^[.\s]", "-", "".join(allowed))  # .cat would be hidden
        while safe in found or (safe != name and safe in classes):
            safe += f"-{number}"
        found.append(safe)
    return found


def chosen(labels: Sequence[int], classes: int) -> list[int]:
    """Return the rows of the first images of each class, class by class: EXAMPLES in all, but at least one of each."""
    each = max(1, EXAMPLES // classes)
    return [row for k in range(classes) for row in [i for i, label in enumerate(labels) if label == k][:each]]


def _examples(images: Images, labels: Sequence[int], names: Sequence[str]) -> str:
    if not len(images):
        return ""
    shown = "".join(
        f'<button title="{names[k]}"><img alt="{names[k]}" src="data:image/png;base64,{_png(image)}"></button>\n'
        for image, k in zip(images, labels, strict=True)
    )
    return f'<p class="hint">Or start from a test image:</p>\n<div id="examples">{shown}</div>\n'


def _png(image: npt.NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _file(name: str) -> str:
    return files("mlplab.draw").joinpath(name).read_text(encoding="utf-8")
