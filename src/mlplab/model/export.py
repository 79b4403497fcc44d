"""Export of a network to TorchScript."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule


class TracedModule(LightningModule):
    """A module that is exported by tracing."""

    def to_torchscript(
        self, file_path: str | Path | None = None, method: str | None = "trace", *arguments: Any, **named: Any
    ) -> Any:
        """Export the network as Lightning does, but by tracing alone.

        Raises:
            ValueError: for another `method`.
        """
        if method != "trace":
            raise ValueError(f"`method` must be 'trace', got {method!r}: torch cannot script what a Trainer needs")
        return super().to_torchscript(file_path, method, *arguments, **named)
