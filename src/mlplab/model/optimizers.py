"""Optimizers and schedules of torch, by name, and a block of steps with them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from torch import nn, optim
from torch.optim.lr_scheduler import LinearLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from mlplab.config import torch_signatures
from mlplab.config.class_defaults import FROM_THE_RUN, schedule_interval
from mlplab.errors import ConfigError
from mlplab.model.fused_optimizers import Fused, optimizer_class

Arguments = Mapping[str, Any]
Update = Callable[[], object]


def require_optimizer(optimizer: Arguments) -> dict[str, Any]:
    """Return a copy; raises ValueError unless it names a torch optimizer."""
    return _require_class("optimizer", optimizer, optim, optim.Optimizer)


def require_scheduler(scheduler: Arguments | None) -> dict[str, Any]:
    """Return a copy; raises ValueError for an unknown schedule or interval."""
    chosen = {} if scheduler is None else scheduler
    if not isinstance(chosen, Mapping) or chosen.get("name"):
        _require_class("scheduler", chosen, optim.lr_scheduler, LRScheduler)
    if chosen.get("interval") not in (None, "step", "epoch"):
        raise ValueError(f"`interval` of `scheduler` must be step or epoch, got {chosen['interval']!r}")
    return dict(chosen)


def _require_class(argument: str, chosen: Arguments, module: ModuleType, base: type) -> dict[str, Any]:
    if not isinstance(chosen, Mapping):
        raise ValueError(f"`{argument}` must be a mapping, such as {{'name': ...}}, got {chosen!r}")
    found = getattr(module, str(chosen.get("name")), None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"`{argument}` must name a class of {module.__name__}, got {chosen.get('name')!r}")
    return dict(chosen)


def schedule_length(scheduler: Arguments, epochs: int, steps_per_epoch: int, max_steps: int) -> int:
    """Count the steps or epochs of a run; `epochs` and `max_steps` are -1 for no limit."""
    if epochs < 0:
        epochs = max(1, math.ceil(max_steps / steps_per_epoch))
    if schedule_interval(scheduler) == "epoch":
        return epochs
    return epochs * steps_per_epoch if max_steps < 0 else min(epochs * steps_per_epoch, max_steps)


def make_optimizer(
    parameters: Iterable[nn.Parameter], optimizer: Arguments, scheduler: Arguments, length: int
) -> tuple[optim.Optimizer, LRScheduler | None, dict[str, dict[str, Any]]]:
    """Make an optimizer, its schedule over `length` steps or epochs (None for a constant rate), and their `settings`.

    With `warmup` W the rate of the first W steps is 1/W, 2/W, ... of the given one. The schedule, also in steps, then
    spans the remaining `length` - W.

    Raises:
        ConfigError: if torch refuses an argument, or the warm-up is as long as the run.
    """
    warmup = scheduler.get("warmup", 0)
    if warmup and warmup >= length:
        raise ConfigError(f"scheduler.warmup: must be below {length:,}, the steps of the run, got {warmup:,}")
    chosen = {key: value for key, value in optimizer.items() if key != "name"}
    arguments = {key: value for key, value in scheduler.items() if key not in ("name", "interval", "warmup")}
    name = scheduler.get("name")
    cycles = name in ("OneCycleLR", "CyclicLR") and arguments.get("cycle_momentum", True)
    try:
        made = optimizer_class(optimizer["name"], chosen, cycles)(parameters, **chosen)
        rise = LinearLR(made, 1 / warmup, total_iters=max(1, warmup - 1)) if warmup else None
        if not name:
            return made, rise, settings(made, rise)
        length -= warmup
        from_the_run = {"T_max": length, "total_steps": length, "max_lr": made.param_groups[0]["lr"]}
        defaults = {argument: from_the_run[argument] for argument in FROM_THE_RUN.get(name, ())}
        schedule: LRScheduler = getattr(optim.lr_scheduler, name)(made, **{**defaults, **arguments})
        whole = schedule if rise is None else SequentialLR(made, [rise, schedule], milestones=[warmup])
        return made, whole, settings(made, schedule)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise ConfigError(f"optimizer, scheduler: torch refuses their arguments: {error}") from error


def settings(optimizer: optim.Optimizer, schedule: LRScheduler | None) -> dict[str, dict[str, Any]]:
    """Return the arguments of `optimizer` and `scheduler`; a schedule has set some of them before the first step."""
    parts: dict[str, tuple[object, Arguments, Arguments]] = {
        "optimizer": (optimizer, optimizer.param_groups[0], torch_signatures.optimizers()),
        "scheduler": (schedule, vars(schedule) if schedule else {}, torch_signatures.schedulers()),
    }
    return {
        part: {"name": name, **{key: values[key] for key in classes[name] if key in values}}
        for part, (made, values, classes) in parts.items()
        if (name := type(made).__name__) in classes
    }


class Updates:
    """Takes the steps of an optimizer and its schedule; `monitor` is the metric of ReduceLROnPlateau.

    `again` recomputes the gradients of a batch, for LBFGS, which evaluates it several times.
    """

    def __init__(
        self,
        optimizer: optim.Optimizer,
        schedule: LRScheduler | None,
        scheduler: Arguments,
        monitor: str,
        again: Update,
    ) -> None:
        self.schedule, self.interval, self.monitor = schedule, schedule_interval(scheduler), monitor
        self.options: dict[str, Any] = {}
        self.group = optimizer.param_groups[0]
        self.step: Update = optimizer.update if isinstance(optimizer, Fused) else optimizer.step
        if isinstance(optimizer, optim.LBFGS):
            self.options = {"closure": again}
            self.step = partial(optimizer.step, again)
            for weight in self.group["params"]:
                weight.grad = None if weight.grad is None else weight.grad.contiguous()  # it keeps a view of them

    def of_block(self, count: int, last: Callable[..., object]) -> tuple[Update, list[float]]:
        """Return a function that takes `count` steps, and their rates; Lightning takes and counts the `last` step."""
        steps: Iterator[Update] = iter([*[self.step] * (count - 1), partial(last, **self.options)])
        has_schedule, rates = self.schedule is not None and self.interval == "step", list[float]()

        def update() -> None:
            rates.append(self.group["lr"])
            next(steps)()
            if has_schedule:
                self._move_schedule({})

        return update, rates

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        if self.schedule is not None and self.interval == "epoch":
            self._move_schedule(metrics)

    def _move_schedule(self, metrics: Mapping[str, float]) -> None:
        schedule: Any = self.schedule
        try:
            if not isinstance(schedule, ReduceLROnPlateau):
                schedule.step()
            elif self.monitor in metrics:  # an epoch may have no validation
                schedule.step(metrics[self.monitor])
        except (ValueError, TypeError, ArithmeticError) as error:  # the schedule is shorter than the run
            raise ConfigError(f"scheduler: {error}") from error
