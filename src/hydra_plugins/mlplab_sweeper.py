"""Hydra plugin that hands a sweep to mlplab.sweeps.run."""

from typing import Any

from hydra.plugins.sweeper import Sweeper as HydraSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mlplab.errors import reported


class Sweeper(HydraSweeper):
    def __init__(self, params: dict[str, str] | None = None, max_batch_size: int | None = None) -> None:
        self.params = params or {}  # hydra.sweeper.params, which a named sweep sets

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.hydra_context = hydra_context

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None
        assert self.hydra_context is not None
        named = [f"{key}={values}" for key, values in self.params.items()]
        with reported():  # Hydra would print a traceback
            if self.config.search is None:
                from mlplab.sweeps import run as sweep  # not at every start: Hydra imports all plugins

                sweep.run(self.config, self.hydra_context.config_loader, [*named, *arguments])
            else:
                from mlplab.search import run as search

                search.run(self.config, self.hydra_context.config_loader, [*named, *arguments])
