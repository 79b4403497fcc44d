"""Optimizers and schedules of torch, by name."""

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from torch import nn, optim

from mlplab.config import torch_signatures
from mlplab.config.class_defaults import FROM_THE_RUN
from mlplab.errors import ConfigError
from mlplab.model.fused_optimizers import optimizer_class


def require_class(argument: str, name: object, module: ModuleType, base: type) -> None:
    """Raises ValueError unless `module` has a class of that `name` below `base`."""
    found = getattr(module, str(name), None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"`{argument}` must name a class of {module.__name__}, got {name!r}")


def make_optimizer(
    parameters: Iterable[nn.Parameter], optimizer: Mapping[str, Any], scheduler: Mapping[str, Any], length: int
) -> tuple[optim.Optimizer, optim.lr_scheduler.LRScheduler | None]:
    """An optimizer, and its schedule over `length` steps or epochs; None for a constant rate.

    With `warmup` W the rate of the first W steps is 1/W, 2/W, ... of the chosen one, and the schedule, in steps too, is
    one of the `length` - W after them.

    Raises:
        ConfigError: if torch refuses an argument, or the warm-up is as long as the run.
    """
    warmup = scheduler.get("warmup", 0)
    if warmup and warmup >= length:
        raise ConfigError(f"scheduler.warmup: must be below {length:,}, the steps of the run, got {warmup:,}")
    chosen = {key: value for key, value in optimizer.items() if key != "name"}
    arguments = {key: value for key, value in scheduler.items() if key not in ("name", "interval", "warmup")}
    try:
        name = scheduler.get("name")
        cycles = name in ("OneCycleLR", "CyclicLR") and arguments.get("cycle_momentum", True)
        made = optimizer_class(optimizer["name"], chosen, cycles)(parameters, **chosen)
        rise = optim.lr_scheduler.LinearLR(made, 1 / warmup, total_iters=max(1, warmup - 1)) if warmup else None
        if not name:
            return made, rise
        length -= warmup
        from_the_run = {"T_max": length, "total_steps": length, "max_lr": made.param_groups[0]["lr"]}
        for argument in FROM_THE_RUN.get(name, ()):
            arguments.setdefault(argument, from_the_run[argument])
        schedule: optim.lr_scheduler.LRScheduler = getattr(optim.lr_scheduler, name)(made, **arguments)
        if rise is None:
            return made, schedule
        return made, optim.lr_scheduler.SequentialLR(made, [rise, schedule], milestones=[warmup])
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise ConfigError(f"optimizer, scheduler: torch refuses their arguments: {error}") from error


def plain_values(
    optimizer: optim.Optimizer, schedule: optim.lr_scheduler.LRScheduler | None
) -> dict[str, dict[str, Any]]:
    """Arguments that `optimizer` and `scheduler` have now: before the first step a schedule has set some of them."""
    last = schedule._schedulers[-1] if isinstance(schedule, optim.lr_scheduler.SequentialLR) else schedule
    parts: dict[str, tuple[object, Mapping[str, Any], Mapping[str, Any]]] = {
        "optimizer": (optimizer, optimizer.param_groups[0], torch_signatures.optimizers()),
        "scheduler": (last, vars(last) if last else {}, torch_signatures.schedulers()),
    }
    return {
        part: {"name": name, **{key: values[key] for key in classes[name] if key in values}}
        for part, (made, values, classes) in parts.items()
        if (name := type(made).__name__) in classes
    }
