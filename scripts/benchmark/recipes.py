"""The two recipes that every contestant trains, as conf/experiment has them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """A file of conf/experiment, and what of it others have to know; what is changed here, mlplab is told."""

    experiment: str
    title: str
    hidden: tuple[int, ...]
    dropout: float
    optimizer: str
    batch_size: int
    epochs: int
    val_size: int

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.epochs} epochs"

    @property
    def widths(self) -> tuple[int, ...]:
        return (784, *self.hidden, 10)

    @property
    def steps(self) -> int:
        """Of an epoch, without a last batch that is short."""
        return (60_000 - self.val_size) // self.batch_size


RECIPES = {
    recipe.experiment: recipe
    for recipe in (
        Recipe("mnist_128_adam", "784-128-10, Adam, batch 32", (128,), 0.0, "Adam", 32, 5, 0),
        Recipe(
            "mnist_512x2_rmsprop", "784-512-512-10, dropout 0.2, RMSprop, batch 128",
            (512, 512), 0.2, "RMSprop", 128, 20, 12_000,
        ),
    )
}  # fmt: skip
