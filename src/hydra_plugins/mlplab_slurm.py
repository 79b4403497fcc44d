"""Where Hydra looks for the launcher `slurm`; what it does is in mlplab.sweeps.slurm."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Slurm(Launcher):
    """It is there without the extra, too, and says what is missing: Hydra would only not know the name."""

    def __init__(self, **parameters: Any) -> None:
        self.parameters = parameters

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from mlplab.sweeps.slurm import submitit_launcher  # not at every start: Hydra imports all plugins

        self.submitit = submitit_launcher(self.parameters)
        self.submitit.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from mlplab.sweeps import slurm

        return slurm.launch(self.submitit, job_overrides, initial_job_idx)
