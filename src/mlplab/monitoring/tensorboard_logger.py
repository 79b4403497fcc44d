"""TensorBoard curves in the run folder itself: one event file, and nothing beside it."""

import logging
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread
from torch.utils.tensorboard.summary import hparams

from mlplab.runs import atomic_write
from mlplab.runs.log_file import warn_once

log = logging.getLogger(__name__)

BY_EPOCH = "by_epoch/"  # tags of curves whose steps are epochs
TEXTS = {f"{name}/text_summary" for name in ("configuration", "layers", "command")}
MARK = ".mlplab"  # at the end of the names of event files, which tells them from those of others
WRITTEN_ONCE = {"custom_scalars__config__", "data/training", *TEXTS}  # tags that each process writes as it starts


class RunLogger(TensorBoardLogger):
    """A disk that takes no more is reported once, and training goes on without curves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(save_dir=folder, name="", version="", default_hp_metric=False, filename_suffix=MARK)
        self._folder = folder
        self._tolerant: _Tolerant | None = None
        threading.excepthook = _quiet_about_full_disks

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """A SummaryWriter."""
        if self._tolerant is None:
            self._tolerant = _Tolerant(self._folder, lambda: super(RunLogger, self).experiment)
        return self._tolerant

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """As TensorBoardLogger, but without the curve of the epoch that Lightning adds."""
        super().log_metrics({tag: value for tag, value in metrics.items() if tag != "epoch"}, step)

    def log_result(self, hyperparameters: Mapping[str, str | float], metrics: Mapping[str, float], step: int) -> None:
        """A row of the HParams tab: what was chosen, and what came of it; TensorBoard takes a figure from its curve."""
        if "val/acc_best" in metrics:  # the other figure, test/acc, has one
            self.experiment.add_scalar("val/acc_best", metrics["val/acc_best"], step)
        for summary in hparams(dict(hyperparameters), dict(metrics)):
            self.experiment.add_summary(summary, step)
        self.experiment.flush()

    def add_png(self, tag: str, png: bytes, step: int) -> None:
        """A picture, as the file that it is: add_image would take it apart and compress it again."""
        width, height = struct.unpack(">II", png[16:24])  # of IHDR, the first chunk
        image = Summary.Image(encoded_image_string=png, colorspace=4, width=width, height=height)
        self.experiment.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def go_back(self, step: int, epoch: int) -> None:
        """Drop what was logged at `step` or later, by a process that was killed after it had last been saved.

        Of curves by epoch, what comes after `epoch`; all of what is written once, the graph among it, which the process
        that goes on writes anew.

        All events move into one new file: a reader that had seen the old one starts anew.
        """
        found = [path for path in sorted(self._folder.glob("events.out.tfevents.*")) if path.is_file()]
        old = [path for path in found if path.suffix == MARK] or found  # of versions that set no mark
        self._kwargs["purge_step"] = 0
        earlier: set[tuple[int, str]] = set()  # what a file repeats if this was killed before it deleted the old ones
        damaged = []
        for path in old:
            events, is_whole = _read(path)
            damaged += [path] * (not is_whole)
            points = [(event.step, ",".join(value.tag for value in event.summary.value)) for event in events]
            for event, point in zip(events, points, strict=True):
                is_earlier = event.step <= epoch if point[1].startswith(BY_EPOCH) else event.step < step
                is_kept = event.HasField("summary") and point[1] not in WRITTEN_ONCE
                if is_kept and is_earlier and point not in earlier:
                    self.experiment.add_event(event)
            earlier |= set(points)
        if not self.experiment.flush():
            return
        for path in set(self._folder.glob(f"events.out.tfevents.*{MARK}")) - set(old):
            atomic_write.sync(path)
        for path in old:
            if path in damaged:
                log.warning(f"{path}: damaged; what could be read of it is kept.")
                path.replace(path.with_name(path.name.replace("events.out.tfevents", "damaged-curves")))
            else:
                path.unlink()

    @rank_zero_only
    def save(self) -> None:
        """Flush. Lightning would also write a hparams.yaml, which repeats .hydra/config.yaml."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush. Lightning closes the file after training and opens another one for the test."""
        self.experiment.flush()


def _read(path: Path) -> tuple[list[Any], bool]:
    """The events of a file as far as they can be read, and whether that was to its end, but for one that is cut off."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader  # not for every run
    from tensorboard.compat.proto.event_pb2 import Event

    events, size = [], 0
    try:
        for record in RawEventFileLoader(str(path)).Load():
            events.append(Event.FromString(record))
            size += len(record) + 16  # its length and two checksums
    except Exception:  # whatever a damaged record leads to
        return events, False
    rest = path.read_bytes()[size:]
    cut = len(rest) < 2**12 and int.from_bytes(rest[:8], "little") + 16 > len(rest)  # as a kill leaves it
    return events, not rest or cut


class _Tolerant:
    """A SummaryWriter, made when first used, that is given up when its disk takes no more."""

    def __init__(self, folder: Path, make: Any) -> None:
        self._folder = folder
        self._make = make
        self._writer: Any = None
        self._broken = False

    def __getattr__(self, name: str) -> Any:
        """A method that does what that of the writer does, if it can."""

        def call(*arguments: Any, **named: Any) -> Any:
            return self._try(lambda writer: getattr(writer, name)(*arguments, **named))

        return call

    def add_summary(self, summary: Any, step: int) -> None:
        self._try(lambda writer: writer.file_writer.add_summary(summary, step))

    def add_event(self, event: Any) -> None:
        """As it is, with its time."""
        self._try(lambda writer: writer.file_writer.event_writer.add_event(event))

    def flush(self) -> bool:
        """Whether everything is in the file."""
        self._try(lambda writer: writer.flush())
        return not self._broken

    def _try(self, action: Any) -> Any:
        if self._broken:
            return None
        try:
            if self._writer is None:
                self._writer = self._make()
            return action(self._writer)
        except OSError as error:
            self._broken = True
            warn_once(self._folder, error)
            return None


def _quiet_about_full_disks(arguments: Any) -> None:
    """The thread that writes events dies of it, and the next event raises it again, where it is reported."""
    if not (isinstance(arguments.thread, _AsyncWriterThread) and isinstance(arguments.exc_value, OSError)):
        threading.__excepthook__(arguments)
