"""TensorBoard's event file in the run folder; a resumed run keeps its part before the checkpoint."""

import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import hparams

from mlplab.runs import atomic_write
from mlplab.runs.log_file import warn_once

FILES = "events.out.tfevents.*"
MARK = ".mlplab"  # suffix of this project's event files
BY_EPOCH = "by_epoch/"  # tags of curves by epoch
TEXTS = {f"{name}/text_summary" for name in ("configuration", "layers", "command")}
WRITTEN_ONCE = {"custom_scalars__config__", "data/training", *TEXTS}  # tags that each process writes as it starts


class RunLogger(TensorBoardLogger):
    """Writes curves, pictures and texts; if the disk is full, it warns once and training goes on without them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(save_dir=folder, name="", version="", default_hp_metric=False, filename_suffix=MARK)
        self._folder = folder
        self._is_broken = False

    def write(self, action: Callable[[Any], object]) -> None:
        """Call `action` with a SummaryWriter."""
        try:
            if (writer := self.experiment) is not None:
                action(writer)
        except OSError as error:
            self._give_up(error)

    @property
    def experiment(self) -> Any:
        """The SummaryWriter; None once the disk is full."""
        threading.excepthook = _quiet_about_full_disks
        try:
            return None if self._is_broken else super().experiment
        except OSError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: OSError) -> None:
        self._is_broken = True
        warn_once(self._folder, error)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add points to curves, without Lightning's curve of the epoch."""
        points = {tag: value for tag, value in metrics.items() if tag != "epoch"}
        self.write(lambda _: super(RunLogger, self).log_metrics(points, step))

    def log_result(self, hyperparameters: Mapping[str, str | float], metrics: Mapping[str, float], step: int) -> None:
        """Add a row to the HParams tab: hyperparameters and metrics, each of which TensorBoard reads from its curve."""
        if "val/acc_best" in metrics:  # test/acc already has a curve
            self.log_metrics({"val/acc_best": metrics["val/acc_best"]}, step)
        for summary in hparams(dict(hyperparameters), dict(metrics)):
            self._add(summary, step)
        self.save()

    def add_png(self, tag: str, png: bytes, step: int) -> None:
        """Add a PNG file as it is: add_image would decode it and compress it again."""
        width, height = struct.unpack(">II", png[16:24])  # of IHDR, the first chunk
        image = Summary.Image(encoded_image_string=png, colorspace=4, width=width, height=height)
        self._add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def _add(self, summary: Summary, step: int) -> None:
        self.write(lambda writer: writer.file_writer.add_summary(summary, step))

    def go_back(self, step: int, epoch: int) -> None:
        """Keep events before `step`, and curves by epoch up to `epoch`; drop what each process writes once.

        They go into a new file, so that TensorBoard reads it from the beginning.
        """
        found = sorted(path for path in self._folder.glob(FILES) if path.is_file())
        old = [path for path in found if path.suffix == MARK] or found  # written by a version without the suffix
        kept: dict[tuple[int, str], Event] = {}  # without duplicates: a process killed at this point leaves two files
        for event in (event for path in old for event in _read(path) if event.HasField("summary")):
            tag = ",".join(value.tag for value in event.summary.value)
            is_earlier = event.step <= epoch if tag.startswith(BY_EPOCH) else event.step < step
            if is_earlier and tag not in WRITTEN_ONCE:
                kept.setdefault((event.step, tag), event)

        def copy(writer: Any) -> None:
            start = Event(session_log=SessionLog(status=SessionLog.START))
            for event in (start, *kept.values()):
                writer.file_writer.add_event(event, event.step, event.wall_time or time.time())
            writer.flush()
            for path in set(self._folder.glob(FILES + MARK)) - set(old):
                atomic_write.sync(path)
            for path in old:
                path.unlink()

        self.write(copy)

    def save(self) -> None:
        """Flush, without the hparams.yaml that Lightning would write: .hydra/config.yaml has the same."""
        self.write(lambda writer: writer.flush())

    def finalize(self, status: str) -> None:
        """Flush; Lightning would close the file after training and open another one for the test."""
        self.save()


def _read(path: Path) -> Iterator[Event]:
    """Yield the events of a file, up to the point where it is truncated or damaged."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader  # not needed by every run

    try:
        yield from map(Event.FromString, RawEventFileLoader(str(path)).Load())
    except Exception:  # a damaged record can raise anything
        return


def _quiet_about_full_disks(arguments: Any) -> None:
    """Print nothing when the writer thread fails for lack of disk space: `write` raises it again at the next event."""
    is_writer = type(arguments.thread).__module__.startswith("tensorboard.")
    if not (is_writer and isinstance(arguments.exc_value, OSError)):
        threading.__excepthook__(arguments)
