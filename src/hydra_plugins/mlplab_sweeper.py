"""Where Hydra looks for a sweeper; what it does is in mlplab.sweeps.run."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mlplab.errors import reported


class Sweeper(BasicSweeper):
    """Combines values as Hydra's own does."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.hydra_context = hydra_context
        self.task_function = task_function

    def sweep(self, arguments: list[str]) -> Any:
        from mlplab.sweeps import run  # not at every start: Hydra imports all plugins

        assert self.config is not None
        assert self.hydra_context is not None
        arguments = [*self._parse_config(), *arguments]
        with reported():  # Hydra would print a traceback
            run.run(self.config, self.hydra_context.config_loader, arguments, self.make_launcher)

    def make_launcher(self) -> Launcher:
        assert self.config is not None
        assert self.hydra_context is not None
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=self.task_function, config=self.config
        )
