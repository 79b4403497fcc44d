"""Images that a command names: files, or numbers of test images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlplab.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from mlplab.data.framing import Background
    from mlplab.data.image_dataset import DatasetInfo
    from mlplab.data.splits import SplitDataset


class Input(NamedTuple):
    name: str
    image: "Tensor"  # (C, H, W) uint8
    truth: str = ""  # the class of a test image
    thing: int = 0  # its number in the picture from 1, if all things in it are read
    things: int = 1  # in the picture

    @property
    def title(self) -> str:
        return f"{self.name}, {self.thing}" if self.thing and self.things > 1 else self.name


def from_test_set(dataset: "SplitDataset", numbers: Sequence[int]) -> list[Input]:
    """Return test images by number, from 0; raises ConfigError for a number that does not exist."""
    images, labels = dataset.test_data()
    outside = [number for number in numbers if not 0 <= number < len(images)]
    if outside:
        raise ConfigError(f"--test: must be from 0 to {len(images) - 1}, got {', '.join(map(str, outside))}")
    classes = dataset.info.classes
    return [Input(f"test/{number}", images[number], classes[int(labels[number])]) for number in numbers]


def from_file(path: Path, info: "DatasetInfo", background: "Background", several: bool = False) -> list[Input]:
    """Return the largest thing in a picture, or with `several` all of them; raises DataError as `image_files.read`."""
    from mlplab.data import image_files

    images, things = image_files.read(path, info, background, several)
    return [
        Input(str(path), image, thing=thing if several else 0, things=things)
        for thing, image in enumerate(images, start=1)
    ]


def require_framed(info: "DatasetInfo", options: Sequence[str]) -> None:
    """Raises ConfigError if these options of framing are given for a network that takes pictures as they are."""
    if options and info.as_they_are:
        raise ConfigError(
            f"{', '.join(options)}: no effect for a run with data.prepare=none, whose pictures are used as they are"
        )


def numbers_last(words: Sequence[str]) -> list[str]:
    """Move `--test` and its numbers to the end of a command, so that the run is not parsed as one of them."""
    if "--test" not in words:
        return [*words]
    start = end = words.index("--test")
    while end + 1 < len(words) and words[end + 1].lstrip("-").isdigit():
        end += 1
    return [*words[:start], *words[end + 1 :], *words[start : end + 1]]
