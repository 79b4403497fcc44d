"""Loss and accuracy of an epoch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Totals:
    """Means over the images of an epoch, the same to the last bit however often they are looked at on the way.

    A batch is only kept when it is added: to add it up at once would cost a small network a tenth of its step.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._sums = torch.zeros(3, dtype=torch.float64)  # of loss, correct answers and images

    def reset(self) -> None:
        """Start again, in the same memory: a CUDA graph writes to where it wrote when it was recorded."""
        self._pending = []
        self._sums.zero_()

    def restore(self, sums: Sequence[float]) -> None:
        """Go on from what `sums` were."""
        self._pending = []
        self._sums.copy_(torch.tensor(sums, dtype=torch.float64))

    def sums(self, device: torch.device | None = None) -> Tensor:
        """Sums (3,) of loss, correct answers and images, float64 on `device`: to be added to in place."""
        self._add_up()
        self._sums = self._sums.to(device)
        return self._sums

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add the mean loss () of a batch, with logits (B, K) and labels (B,)."""
        self._pending.append((loss.detach(), logits.detach(), labels))
        if len(self._pending) == 2000:  # 2.5 MB at 32 images in 10 classes
            self._add_up()

    def means(self, reduce: Callable[..., Tensor] = lambda sums, **_: sums) -> tuple[float, float]:
        """Loss and accuracy per image; `reduce` adds up over the processes of a distributed run."""
        self._add_up()
        loss, correct, images = reduce(self._sums.clone(), reduce_op="sum").tolist()
        return loss / images, correct / images

    def _add_up(self) -> None:
        if not self._pending:
            return
        losses, logits, labels = zip(*self._pending, strict=True)
        self._pending = []
        if losses[0].device.type == "mps":  # has no float64
            losses = tuple(loss.cpu() for loss in losses)
        self._sums = self._sums.to(losses[0].device)
        sizes = torch.tensor([len(batch) for batch in labels], device=self._sums.device)
        correct = (torch.cat(logits).argmax(dim=1) == torch.cat(labels)).sum()
        # One after the other, as cumsum does on a CPU: a sum of sums would be another number.
        loss = torch.cat([self._sums[:1], torch.stack(losses).double() * sizes]).cumsum(0)[-1]
        self._sums[0] = loss
        self._sums[1:] += torch.stack([correct.to(self._sums.device), sizes.sum()])
