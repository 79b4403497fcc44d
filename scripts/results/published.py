"""The recipes of the page: what each trains, and what has been published for it."""

from dataclasses import dataclass
from decimal import Decimal

TOLERANCE = {"mnist": 0.10, "fashion": 0.25}  # what the gate forgives, in points of test accuracy
SLOW_S = 600  # of training a seed, from which on three seeds do
SIMARD = "Simard, Steinkraus, Platt 2003"
KERAS = "Keras 3 on JAX, measured for this project"
UNKNOWN = "the best found; no citable source"


@dataclass(frozen=True)
class Recipe:
    """Accuracies are percent of the test images, with as many digits as the source gives."""

    title: str  # the network, and what sets its training apart
    seconds: float  # of training a seed on one core: a guess, which counts until it is measured
    accuracy: Decimal | None = None  # published, or measured as a reference
    source: str = ""
    sd: Decimal | None = None
    runs: int | None = None

    @property
    def published(self) -> str:
        if self.accuracy is None:
            return "none"
        sd = "" if self.sd is None else f" ± {self.sd}"
        runs = "" if self.runs is None else ", one run" if self.runs == 1 else f", n = {self.runs}"
        return f"{self.accuracy}{sd}{runs}"


RECIPES = {
    "mnist_128_adam": Recipe(
        "784-128-10, Adam, batch 32, 5 epochs", 3, Decimal("97.62"), KERAS, sd=Decimal("0.05"), runs=5
    ),
    "mnist_512x2_rmsprop": Recipe(
        "784-512-512-10, dropout 0.2, RMSprop, batch 128, 20 epochs, a fifth for validation",
        28,
        Decimal("98.05"),
        KERAS,
        sd=Decimal("0.12"),
        runs=3,
    ),
    "mnist_98_fast": Recipe("784-192-10, Adam, one cycle, batch 128, 3 epochs: 98 % in little time", 3.2),
    "mnist_800": Recipe("784-800-10, cross-entropy", 90, Decimal("98.40"), SIMARD),
    "mnist_800x2": Recipe(
        "784-800-800-10, ReLU, no regularisation", 100, Decimal("98.54"), "Hinton, Vinyals, Dean 2015: 146 errors"
    ),
    "mnist_keras_mlp": Recipe(
        "784-512-512-10, dropout 0.2, RMSprop, batch 128, 20 epochs on all 60,000 images",
        35,
        Decimal("98.40"),
        "mnist_mlp.py of Keras's examples",
    ),
    "mnist_affine_elastic": Recipe(
        "784-512-256-10, 15 epochs, affine and elastic distortions",
        60,
        Decimal("98.83"),
        "cybertronai/schmidhuber-problems",
        runs=1,
    ),
    "mnist_800_elastic": Recipe("784-800-10, elastic distortions, 300 epochs", 360, Decimal("99.30"), SIMARD),
    "mnist_dropout_maxnorm": Recipe(
        "784-1024-1024-1024-10, dropout 0.2 of the input and 0.5, max-norm",
        900,
        Decimal("98.94"),
        "Srivastava et al. 2014",
    ),
    "mnist_bn_noise": Recipe(
        "784-1000-500-250-250-250-10, batch norm, Gaussian noise",
        600,
        Decimal("99.20"),
        "Rasmus et al. 2015, the supervised baseline",
        sd=Decimal("0.03"),
    ),
    "mnist_deep_big": Recipe(
        "784-2500-2000-1500-1000-500-10, elastic and affine distortions anew every epoch",
        3000,
        Decimal("99.65"),
        "Ciresan et al. 2010",
    ),
    "fashion_128": Recipe(
        "784-128-10, Adam, batch 32, 10 epochs", 5, Decimal("88.18"), KERAS, sd=Decimal("0.37"), runs=5
    ),
    "fashion_100": Recipe(
        "784-100-10, Adam, batch 32, 10 epochs", 5, Decimal("88.05"), KERAS, sd=Decimal("0.46"), runs=21
    ),
    "fashion_256x128x100": Recipe(
        "784-256-128-100-10, dropout 0.4",
        60,
        Decimal("87.89"),
        "H. Rapela 2018, github.com/heitorrapela/fashion-mnist-mlp (tanh, SGD; its best run 88.33)",
        sd=Decimal("0.25"),
        runs=30,
    ),
    "fashion_wide": Recipe(
        "784-1024-1024-1024-10, dropout 0.3, decayed rate, no distortions", 100, Decimal("89.29"), UNKNOWN
    ),
    "fashion_wide_aug": Recipe(
        "784-1024-1024-1024-10, dropout 0.2, shifts and flips, 200 epochs", 650, Decimal("90.1"), UNKNOWN
    ),
}


def seeds_wanted(seconds: float) -> int:
    """For a mean that counts, by the time that training one takes."""
    return 3 if seconds > SLOW_S else 5


def data_of(name: str) -> str:
    """Either "mnist" or "fashion"."""
    return name.partition("_")[0]
