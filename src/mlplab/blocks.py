"""Lightning with the compiled step: many batches between two of its hooks, and every count as if it were one.

Lightning spends half a millisecond on each batch, twice what a small network's step takes. Its loop asks an inner loop
to take one step; the one here takes as many as fit before something else has to happen.
"""

import copy
import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.optimization.automatic import _AutomaticOptimization
from torch import Tensor, optim

from mlplab import obstacles, updates
from mlplab.aids import mixup
from mlplab.datamodule import to_device
from mlplab.logger import steps_between_points
from mlplab.saving import LastCheckpoint
from mlplab.step import CompilationError, Recipe, compiled, step

log = logging.getLogger(__name__)

# A run compiles by itself if it is faster for it, even the first of its kind, with nothing in the cache: the same
# command must train the same way each time. Seconds on one core of a Xeon; a step of 784-128-10 takes 1.1 ms less, one
# of 784-512-512-10 3.5 ms.
COMPILING_S = 9.0
SAVED_BY_STEP_S = 0.67e-3
SAVED_BY_STEP_AND_WEIGHT_S = 4.2e-9

BLOCK_S = 0.1  # after which Lightning gets a chance to draw, save and stop


class CompiledSteps(Callback):
    """Trains with the compiled step: always, never, or ("auto") if the run is long enough to gain by it.

    Where that is not possible, the log says why and training takes the ordinary way.
    """

    def __init__(self, when: bool | Literal["auto"] = "auto") -> None:
        self.when = when
        self.used = False
        self.preparing_s = 0.0  # seconds that it took to compile or load the step
        self._replaced: _AutomaticOptimization | None = None
        self.before: bool | None = None  # what `used` was before the run was resumed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.when == "auto":  # a run that is resumed goes on the way it began, even if it is made longer
            worth = _is_worth_it(trainer, pl_module) if self.before is None else self.before
        else:
            worth = self.when
        if not worth:
            return
        ordinary = trainer.fit_loop.epoch_loop.automatic_optimization
        started = time.perf_counter()
        try:
            trainer.fit_loop.epoch_loop.automatic_optimization = _Blocks(trainer, pl_module, ordinary)
        except CompilationError as error:
            log.info(f"training without the compiled step: {error}")
        else:
            self.used, self._replaced = True, ordinary
        self.preparing_s = time.perf_counter() - started

    def state_dict(self) -> dict[str, Any]:
        return {"used": self.used}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = state_dict["used"]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._replaced is not None:
            trainer.fit_loop.epoch_loop.automatic_optimization = self._replaced
            self._replaced = None


def _is_worth_it(trainer: Trainer, module: LightningModule) -> bool:
    weights = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    saved_s = SAVED_BY_STEP_S + SAVED_BY_STEP_AND_WEIGHT_S * weights
    return trainer.estimated_stepping_batches * saved_s >= COMPILING_S


class _Blocks(_AutomaticOptimization):
    def __init__(self, trainer: Trainer, module: LightningModule, ordinary: _AutomaticOptimization) -> None:
        super().__init__(trainer)
        self.optim_progress = ordinary.optim_progress  # goes on counting
        self.classifier, self.datamodule, self.optimizer = obstacles.parts(trainer, module)
        self.rule = updates.RULES[type(self.optimizer)]
        clip, by_value = trainer.gradient_clip_val, trainer.gradient_clip_algorithm == "value"
        self.recipe = Recipe(
            self.classifier.mlp,
            self.optimizer,
            self.datamodule.normalized,
            repr((self.datamodule.normalize, self.datamodule.info.mean, self.datamodule.info.std)),
            self.datamodule.distortion,
            bfloat16=trainer.precision == "bf16-mixed",
            clip_norm=None if by_value or not clip else clip,
            clip_value=clip if by_value and clip else None,
            label_smoothing=self.classifier.label_smoothing,
            max_norm=self.classifier.max_norm,
            mixes=self.classifier.mixup is not None,
            ema_decay=self.classifier.averaging["decay"] if self.classifier.averages_steps else None,
        )
        self.optimizer._opt_called = True  # type: ignore[attr-defined]  # a schedule warns where nobody calls step()
        self.steps_taken = updates.steps_taken(self.optimizer)
        self.longest = 10  # steps in a block, until it is known how long one takes
        self.singly = False  # take one step at a time, to find the one that diverges
        self.copies: list[Tensor] = []  # of what steps change, before the block
        self.epoch = -1
        device = self.classifier.device
        self.images, self.labels = self.datamodule.training_data(device)
        rows = torch.zeros(self.datamodule.batch_size, dtype=torch.int64, device=device)
        numbers, seeds = self._tensor(self._numbers(1))[0], self._tensor(np.zeros(2, dtype=np.int32))
        mixture = [torch.zeros((), device=device), rows] if self.recipe.mixes else []
        tensors = [self.images, self.labels, rows, numbers, seeds, *mixture, *self._lasting()]
        self.compiled = compiled(self.recipe, tensors)

    def run(self, optimizer: optim.Optimizer, batch_idx: int, kwargs: Any) -> dict[str, Any]:
        """Take all steps of a block; the batch that Lightning hands over is the first of them, and is gathered anew.

        Returns the number of images, and sums of the epoch and rate at each step that is to be logged.
        """
        started = time.perf_counter()
        trainer, loop = self.trainer, self.trainer.fit_loop.epoch_loop
        if self.epoch != trainer.current_epoch:
            self.epoch = trainer.current_epoch
            order = to_device(self.datamodule.epoch_rows(self.epoch), self.images.device)
            self.batches = order.split(self.datamodule.batch_size)
        first = loop.batch_progress.current.ready - 1
        count = 1 if self.singly else self._length(first)
        lasting = self._lasting()
        before = _Before(self, lasting)
        batches = self.batches[first : first + count]
        seeds = self._seeds(first, count)
        numbers = self._numbers(count)
        mixtures = self._mixtures(first, [len(rows) for rows in batches])
        every, passed = steps_between_points(trainer), {}
        steps = zip(batches, self._tensor(numbers).unbind(), seeds, mixtures, strict=True)
        for taken, (rows, number, pair, mixture) in enumerate(steps, trainer.global_step + 1):
            tensors = [self.images, self.labels, rows, number, pair, *mixture, *lasting]
            if len(rows) == self.datamodule.batch_size:
                self.compiled(tensors)
            else:  # the last batch of an epoch
                with torch.no_grad():
                    step(self.recipe, tensors)
            if every and taken % every == 0:
                passed[taken] = lasting[0].clone(), float(numbers[taken - trainer.global_step - 1, 0])
        loss = float(lasting[0][0])  # waits for a GPU, once in a block
        finite = math.isfinite(loss) and not (self.singly and any(not tensor.isfinite().all() for tensor in lasting))
        if not finite:
            before.restore()
            if count == 1:
                what, value = ("a weight", math.nan) if math.isfinite(loss) else ("train/loss", loss)
                raise self.classifier.diverged(f"{what} of step {trainer.global_step + 1:,}", value)
            self.singly = True
            return self.run(optimizer, batch_idx, kwargs)
        self._count(count)
        self.longest = max(1, int(BLOCK_S * count / (time.perf_counter() - started)))
        return {"images": sum(len(rows) for rows in batches), "passed": passed}

    def _length(self, first: int) -> int:
        """Steps until Lightning has to validate or save, the epoch or the run ends, or the block is long enough."""
        trainer, progress = self.trainer, self.trainer.fit_loop.epoch_loop.batch_progress
        limits = [self.longest, trainer.num_training_batches - first]
        if trainer.max_steps >= 0:
            limits.append(trainer.max_steps - trainer.global_step)
        for callback in trainer.checkpoint_callbacks:
            every = getattr(callback, "_every_n_train_steps", 0)
            if every:
                limits.append(every - trainer.global_step % every)
            left = callback.steps_left(trainer) if isinstance(callback, LastCheckpoint) else None
            if left is not None:
                limits.append(left)
        between = trainer.val_check_batch  # validations; infinite, or None, if they go by something else
        if between is not None and math.isfinite(between):
            counts = progress.total if trainer.check_val_every_n_epoch is None else progress.current
            limits.append(int(between) - (counts.ready - 1) % int(between))
        return max(1, int(min(limits)))

    def _numbers(self, count: int) -> "np.ndarray[Any, Any]":
        """What the update rule needs in each of the next steps, the rate first, (count, n) float32.

        The schedule is moved on from one to the next.
        """
        trainer, loop = self.trainer, self.trainer.fit_loop.epoch_loop
        group = self.optimizer.param_groups[0]
        rows = []
        for index in range(count):
            rows.append(self.rule.numbers(group, self.steps_taken + index + 1))
            self.classifier.rate = group["lr"]
            if index + 1 < count and trainer.lr_scheduler_configs:
                loop.update_lr_schedulers("step", update_plateau_schedulers=False)
                loop.batch_progress.current.ready += 1  # by which schedules go
        if count > 1 and trainer.lr_scheduler_configs:
            loop.batch_progress.current.ready -= count - 1
        return np.array(rows, dtype=np.float32)

    def _seeds(self, first: int, count: int) -> tuple[Tensor, ...]:
        """(2,) for each step: of dropout and of the distortion."""
        seeds = np.zeros((count, 2), dtype=np.uint32)
        if self.classifier.draws:
            seeds[:, 0] = self.classifier.batch_seeds[first : first + count]
        if not self.recipe.distortion.is_identity:
            seeds[:, 1] = self.datamodule.batch_seeds(self.epoch)[first : first + count]
        return self._tensor(seeds.view(np.int32)).unbind()

    def _mixtures(self, first: int, sizes: Sequence[int]) -> Sequence[tuple[Tensor, ...]]:
        """Of each batch, share and partners; nothing without mixup."""
        alpha = self.classifier.mixup
        if alpha is None:
            return [()] * len(sizes)
        seeds = self.classifier.mixup_seeds[first : first + len(sizes)]
        shares, partners = zip(
            *(mixup.draw(size, alpha, seed) for size, seed in zip(sizes, seeds, strict=True)), strict=True
        )
        of_batches = self._tensor(np.concatenate(partners)).split(list(sizes))
        return list(zip(self._tensor(np.array(shares, dtype=np.float32)).unbind(), of_batches, strict=True))

    def _tensor(self, array: "np.ndarray[Any, Any]") -> Tensor:
        return to_device(torch.from_numpy(array), self.classifier.device)

    def _lasting(self) -> list[Tensor]:
        """What steps change, in the order of `step`."""
        mlp, average = self.classifier.mlp, self.classifier.average
        weights = list(mlp.parameters())
        buffers = [buffer for weight in weights for buffer in updates.state(self.optimizer, weight)]
        lasting = [self.classifier.totals["train"].sums(self.images.device), *weights, *mlp.buffers(), *buffers]
        if average is not None and self.classifier.averages_steps:
            lasting += [average.n_averaged, *average.module.parameters(), *average.module.buffers()]
        return [tensor.detach() for tensor in lasting]

    def _count(self, count: int) -> None:
        """Note the steps where Lightning looks for them; it will itself note the batch that it handed over."""
        loop = self.trainer.fit_loop.epoch_loop
        last = loop.batch_progress.current.ready - 1 + count == self.trainer.num_training_batches
        loop.batch_progress.increment_by(count - 1, is_last_batch=last)
        loop._batches_that_stepped += count - 1
        self.optim_progress.optimizer.step.increment_by(count)
        self.optim_progress.optimizer.zero_grad.increment_by(count)
        updates.count_steps(self.optimizer, count)
        self.steps_taken += count


class _Before:
    """The state before a block, to go back to if the block diverges."""

    def __init__(self, blocks: _Blocks, lasting: list[Tensor]) -> None:
        self.blocks = blocks
        self.lasting = lasting
        if not blocks.copies:
            blocks.copies = [torch.empty_like(tensor) for tensor in lasting]
        torch._foreach_copy_(blocks.copies, lasting)
        self.group = {key: value for key, value in blocks.optimizer.param_groups[0].items() if key != "params"}
        configs = blocks.trainer.lr_scheduler_configs
        self.schedules = [copy.deepcopy(config.scheduler.state_dict()) for config in configs]
        self.progress = blocks.trainer.fit_loop.epoch_loop.scheduler_progress.state_dict() if configs else None

    def restore(self) -> None:
        torch._foreach_copy_(self.lasting, self.blocks.copies)
        self.blocks.optimizer.param_groups[0].update(self.group)
        for config, state in zip(self.blocks.trainer.lr_scheduler_configs, self.schedules, strict=True):
            config.scheduler.load_state_dict(state)
        if self.progress is not None:
            self.blocks.trainer.fit_loop.epoch_loop.scheduler_progress.load_state_dict(self.progress)
