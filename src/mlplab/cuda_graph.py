"""Forward and backward as a CUDA graph: one launch a step in place of twenty. Not run on a GPU yet."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Captured:
    """Recorded at its first call, for tensors of these shapes, and replayed on copies of them from then on.

    What `gradients` writes, the gradients and the running statistics of `network`, it writes to the same memory each
    time. The update is not part of the graph: a schedule may change any of its numbers.
    """

    def __init__(self, gradients: Callable[..., None], network: nn.Module) -> None:
        self.gradients, self.network = gradients, network
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self, images: Tensor, drawn: Sequence[Tensor | None], offsets: Tensor, logits: Tensor, logits_t: Tensor
    ) -> None:
        given = [images, *drawn, offsets]
        graph = self.graph or self._record(given, logits)
        for own, new in zip(self.inputs, given, strict=True):
            if own is not None and new is not None:
                own.copy_(new, non_blocking=True)
        graph.replay()
        logits.copy_(self.logits)

    def _record(self, given: Sequence[Tensor | None], logits: Tensor) -> torch.cuda.CUDAGraph:
        self.inputs = [None if tensor is None else tensor.clone() for tensor in given]
        self.logits = torch.empty_like(logits)
        images, *drawn, offsets = self.inputs
        arguments = images, drawn, offsets, self.logits, self.logits.t()
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # CUDA graphs want the first calls on a stream of their own
            for _ in range(3):
                self.gradients(*arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.gradients(*arguments)
        for buffer, before in zip(self.network.buffers(), statistics, strict=True):
            buffer.copy_(before)
        return self.graph
