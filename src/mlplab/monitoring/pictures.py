"""Pictures of a run, in TensorBoard and in its folder, and their drawing time."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from mlplab.monitoring.tensorboard_logger import RunLogger
from mlplab.plots import canvas, run
from mlplab.runs import atomic_write

log = logging.getLogger(__name__)

CONFUSION_SHARE = 0.01  # of the time so far; above it only the last validation confusion matrix is drawn


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn any failure of matplotlib, its fonts or the disk into a warning, so that the run goes on."""
    try:
        yield
    except Exception as error:
        log.warning(f"{name} cannot be drawn: {type(error).__name__}: {error}")


class Pictures:
    """Draws figures into TensorBoard and into the run folder; `seconds` is the time spent."""

    def __init__(self, folder: Path, logger: RunLogger | None) -> None:
        self.seconds = 0.0
        self._folder, self._logger = folder, logger
        self._confusion_s = 0.0  # spent on validation confusion matrices
        self.start(0)

    def start(self, epochs: int) -> None:
        """Start measuring time, after this many epochs."""
        self._due = next_milestone(epochs)
        self._started = time.monotonic()

    def show(
        self, draw: "Callable[[], canvas.Figure]", tag: str | None = None, file: str | None = None, step: int = 0
    ) -> None:
        """Draw a figure under `tag`, and into `file`, if given."""
        if file is None and (tag is None or self._logger is None):
            return
        with guarded(tag or str(file)):
            with self.timed():
                png = canvas.png(draw())
            if tag is not None and self._logger is not None:
                self._logger.add_png(tag, png, step)
            if file is not None:
                atomic_write.write_own({self._folder / file: png})

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started

    def show_validation(
        self, matrix: Tensor, classes: tuple[str, ...], subject: str, epoch: int, step: int, is_last: bool
    ) -> None:
        """Draw a confusion matrix (K, K) after epochs 1, 2, 5, 10, ..., if drawing is quick, and after the last."""
        has_time = self._confusion_s <= CONFUSION_SHARE * (time.monotonic() - self._started)
        if not (is_last or (epoch >= self._due and has_time)):
            return
        import matplotlib.backends.backend_agg  # noqa: F401  # once, and at no matrix's expense

        self._due = next_milestone(epoch)
        started = time.monotonic()
        title = f"{subject}, validation {100 * int(matrix.trace()) / max(1, int(matrix.sum())):.2f} %"
        about = f"validation images, after epoch {epoch}, run {self._folder.resolve().name}"
        self.show(lambda: run.confusion(matrix.numpy(), classes, title, about), "confusion/val", step=step)
        self._confusion_s += time.monotonic() - started


def next_milestone(epoch: int) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50, 100, ... after `epoch`."""
    power = 1
    while 5 * power <= epoch:
        power *= 10
    return next(n for n in (power, 2 * power, 5 * power) if n > epoch)
