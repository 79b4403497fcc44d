"""The recipes of the benchmark, composed from conf/experiment."""

from dataclasses import dataclass
from pathlib import Path

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPERIMENTS = ("mnist_128_adam", "mnist_512x2_rmsprop")


@dataclass(frozen=True)
class Recipe:
    experiment: str
    hidden: tuple[int, ...]
    dropout: float
    optimizer: str
    batch_size: int
    epochs: int
    val_size: int

    @property
    def title(self) -> str:
        dropout = f"dropout {self.dropout:g}, " if self.dropout else ""
        network = "-".join(map(str, self.widths))
        return f"{network}, {dropout}{self.optimizer}, batch {self.batch_size}, {self.epochs} epochs"

    @property
    def widths(self) -> tuple[int, ...]:
        return (784, *self.hidden, 10)

    @property
    def steps(self) -> int:
        """Steps per epoch, without an incomplete last batch."""
        return (60_000 - self.val_size) // self.batch_size


def composed(experiment: str, epochs: int | None, hidden: int | None = None) -> Recipe:
    """Read a recipe; its epochs and widths can be overridden."""
    from mlplab.cli.compose import compose

    width = [f"model.hidden={hidden}"] if hidden else []
    config = compose([f"experiment={experiment}", *width], CONF)
    model, data = config.model, config.data
    return Recipe(
        experiment,
        tuple(model.hidden),
        model.dropout[0],
        config.optimizer.name,
        data.batch_size,
        epochs or config.trainer.max_epochs,
        int(data.val_size),
    )
