"""The facts of each data set: its sizes, classes and files; and how a user's own data are read."""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

Name = Literal["mnist", "fashion", "digits", "kmnist", "emnist", "qmnist", "folder", "csv", "idx"]
TABLES = (".csv", ".tsv", ".txt")  # endings of tables of pixels
OWN = ("folder", "csv", "idx")  # of the user; their facts are known once they are read
OWN_VAL_SIZE = 0.1
DIGITS = tuple("0123456789")


def files_of(train: str, test: str, labels: str = "idx1-ubyte") -> tuple[str, str, str, str]:
    """Name training images, training labels, test images and test labels."""
    train_files, test_files = ((f"{part}-images-idx3-ubyte", f"{part}-labels-{labels}") for part in (train, test))
    return (*train_files, *test_files)


@dataclass(frozen=True)
class Facts:
    """Published facts of a data set, and the validation images to set aside; the defaults are the most usual."""

    title: str
    object_size: int  # longest side of what is pictured, in pixels
    train_images: int = 60_000
    image_shape: tuple[int, int, int] = (1, 28, 28)  # (C, H, W)
    classes: tuple[str, ...] = DIGITS
    centred_by_mass: bool = False  # or else by its outline
    val_size: int = 5000
    dataset: str = ""  # class of torchvision.datasets that downloads it, and its folder
    files: tuple[str, ...] = files_of("train", "t10k")
    sha256: Mapping[str, str] = field(default_factory=dict)  # by file, extracted; none: torchvision checks its archives
    downloads: Sequence[Mapping[str, Any]] = ({},)  # arguments of the class, for each of its downloads
    first_label: int = 0
    is_transposed: bool = False  # columns of pixels are stored as rows
    test_rows: tuple[int, int | None] = (0, None)  # start and end of the rows used of the test files

    @property
    def pixels(self) -> int:
        channels, height, width = self.image_shape
        return channels * height * width


# Digits and letters; letters that look alike in both cases share a class.
_MERGED = f"{string.digits}{string.ascii_uppercase}abdefghnqrt"

DATASETS: dict[str, Facts] = {
    "mnist": Facts(
        title="MNIST",
        object_size=20,  # digits fit a box of 20 x 20 in the frame of 28 x 28: LeCun, Cortes, Burges, MNIST's home page
        centred_by_mass=True,
        dataset="MNIST",
        sha256={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion": Facts(
        title="Fashion-MNIST",
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        object_size=28,  # the longest side fills the frame: Xiao, Rasul, Vollgraf 2017, figure 1
        dataset="FashionMNIST",
        sha256={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    "digits": Facts(  # E. Alpaydin, C. Kaynak, UCI machine learning repository, 1998; every fifth image is for the test
        title="digits",
        train_images=1_437,
        image_shape=(1, 8, 8),
        object_size=8,
        val_size=200,
    ),
    "kmnist": Facts(
        title="Kuzushiji-MNIST",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        object_size=28,  # characters fill the frame: Clanuwat et al. 2018, figure 1
        dataset="KMNIST",
    ),
    **{  # Cohen, Afshar, Tapson, van Schaik 2017, EMNIST: table II, and section II for the frame
        f"emnist/{split}": Facts(
            title=f"EMNIST {split}",
            train_images=train_images,
            classes=tuple(classes),
            object_size=24,  # a border of two pixels
            val_size=val_size,
            dataset="EMNIST",
            files=files_of(f"emnist-{split}-train", f"emnist-{split}-test"),
            downloads=({"split": split},),
            first_label=int(split == "letters"),
            is_transposed=True,
        )
        for split, train_images, classes, val_size in (
            ("balanced", 112_800, _MERGED, 18_800),
            ("byclass", 697_932, string.digits + string.ascii_uppercase + string.ascii_lowercase, 50_000),
            ("bymerge", 697_932, _MERGED, 50_000),
            ("letters", 124_800, string.ascii_lowercase, 20_800),
            ("digits", 240_000, string.digits, 40_000),
            ("mnist", 60_000, string.digits, 5000),
        )
    },
    **{  # Yadav and Bottou 2019, Cold case: the lost MNIST digits; the first 10,000 test images are those of MNIST
        f"qmnist/{split}": Facts(
            title="QMNIST",
            object_size=20,
            centred_by_mass=True,
            dataset="QMNIST",
            files=files_of("qmnist-train", "qmnist-test", labels="idx2-int"),
            downloads=({"what": "train"}, {"what": "test"}),
            test_rows=rows,
        )
        for split, rows in (("test", (0, None)), ("test10k", (0, 10_000)), ("test50k", (10_000, None)))
    },
}
IDX_DATASETS = {name: facts for name, facts in DATASETS.items() if facts.dataset}
SPLITS = {  # of the data sets that have several, by name
    name: tuple(key.partition("/")[2] for key in DATASETS if key.startswith(f"{name}/"))
    for name in ("emnist", "qmnist")
}


def key_of(name: str, split: str | None = None) -> str:
    """Return the key in DATASETS: mnist, emnist/letters."""
    return f"{name}/{split}" if split else name


def label(name: str, split: str | None, root: str | None) -> str:
    """Name a data set for titles and folders: mnist, emnist-letters, folder-pets."""
    own = Path(root).expanduser().absolute().stem if root and name in OWN else split
    return re.sub(r"[^\w.+=,-]", "_", f"{name}-{own}" if own else name)


class Reading(NamedTuple):
    """The settings that determine how own data are read, and so their images."""

    prepare: str = "mnist"
    label_column: str = "auto"
    test_size: float = 0.2
    split_seed: int = 0


# Bytes of each official file, extracted, the same for MNIST and Fashion-MNIST.
OFFICIAL_SIZE = {
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}


USUAL = Reading()
