"""Optimizers and schedules of torch, by name."""

import inspect
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from torch import nn, optim

from mlplab.config import FROM_THE_RUN
from mlplab.errors import ConfigError


def require_class(argument: str, name: object, module: ModuleType, base: type) -> None:
    """Raises ValueError unless `module` has a class of that `name` below `base`."""
    found = getattr(module, str(name), None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"`{argument}` must name a class of {module.__name__}, got {name!r}")


def make_optimizer(
    parameters: Iterable[nn.Parameter], optimizer: Mapping[str, Any], scheduler: Mapping[str, Any], length: int
) -> tuple[optim.Optimizer, optim.lr_scheduler.LRScheduler | None]:
    """An optimizer, and its schedule over `length` steps or epochs; None for a constant rate.

    Raises:
        ConfigError: if torch refuses an argument.
    """
    kind: type[optim.Optimizer] = getattr(optim, optimizer["name"])
    chosen = {key: value for key, value in optimizer.items() if key != "name"}
    arguments = {key: value for key, value in scheduler.items() if key not in ("name", "interval")}
    try:
        made = kind(parameters, **_fused(kind, chosen))
        name = scheduler.get("name")
        if not name:
            return made, None
        from_the_run = {"T_max": length, "total_steps": length, "max_lr": made.param_groups[0]["lr"]}
        for argument in FROM_THE_RUN.get(name, ()):
            arguments.setdefault(argument, from_the_run[argument])
        return made, getattr(optim.lr_scheduler, name)(made, **arguments)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise ConfigError(f"optimizer, scheduler: torch refuses their arguments: {error}") from error


def schedule_interval(scheduler: Mapping[str, Any]) -> str:
    """What is chosen, "step" or "epoch", or what the class is made for."""
    by_class = "step" if scheduler.get("name") in ("OneCycleLR", "CyclicLR") else "epoch"
    return str(scheduler.get("interval") or by_class)


def _fused(kind: type[optim.Optimizer], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for the fused kernel where the class has one and nobody chose otherwise."""
    chosen = {"fused", "foreach", "capturable", "differentiable"} & set(arguments)
    has_one = "fused" in inspect.signature(kind).parameters
    return {**arguments, "fused": True} if has_one and not chosen else dict(arguments)
