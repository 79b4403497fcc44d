"""The facts of each data set: its sizes, classes and files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Name = Literal["mnist", "fashion", "digits"]
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Facts:
    """Published facts of a data set, and the validation images to set aside by default."""

    title: str
    train_images: int
    image_shape: tuple[int, int, int]  # (C, H, W)
    classes: tuple[str, ...]
    object_size: int  # longest side of what is pictured, in pixels
    centred_by_mass: bool  # or else by its outline
    val_size: int
    dataset: str = ""  # class of torchvision.datasets that downloads it, and its folder
    sha256: Mapping[str, str] = field(default_factory=dict)  # by file, extracted

    @property
    def pixels(self) -> int:
        channels, height, width = self.image_shape
        return channels * height * width


DATASETS: dict[str, Facts] = {
    "mnist": Facts(
        title="MNIST",
        train_images=60_000,
        image_shape=(1, 28, 28),
        classes=DIGITS,
        object_size=20,  # digits fit a box of 20 x 20 in the frame of 28 x 28: LeCun, Cortes, Burges, MNIST's home page
        centred_by_mass=True,
        val_size=5000,
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
        train_images=60_000,
        image_shape=(1, 28, 28),
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        object_size=28,  # the longest side fills the frame: Xiao, Rasul, Vollgraf 2017, figure 1
        centred_by_mass=False,
        val_size=5000,
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
        classes=DIGITS,
        object_size=8,
        centred_by_mass=False,
        val_size=200,
    ),
}
IDX_DATASETS = {name: facts for name, facts in DATASETS.items() if facts.sha256}

# Bytes of each official file, extracted, the same for MNIST and Fashion-MNIST.
OFFICIAL_SIZE = {
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
