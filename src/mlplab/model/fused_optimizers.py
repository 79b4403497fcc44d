"""Optimizers of torch.optim that step with one fused call over all weights, in a quarter of the time or less.

Arguments and state are those of torch.optim, under the same names. The kernels are private names of torch: its own
`step` calls them (2.11 to 2.15) and adds 0.15 ms, half of the whole training step of a small network.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, optim

Options = Mapping[str, Any]  # an entry of an optimizer's param_groups


class Fused(optim.Optimizer):
    """Base class of the optimizers below, for one group of weights, whose `.grad` must stay the same tensors."""

    counts = True  # the steps, in the state of each weight
    kept: ClassVar[Mapping[str, str | None]]  # tensors like a weight, in its state, each with the option it needs
    is_bound = False
    weights: list[Tensor]  # these three in memory order, which the kernels take
    gradients: list[Tensor]
    tensors: dict[str, list[Tensor]]  # by their names in the state

    def change(self, options: Options, steps: list[Tensor]) -> None:
        """Call the kernel; `steps`, of shape (), for each weight include this one."""
        raise NotImplementedError

    def bind(self) -> None:
        """Find the tensors that a step changes; repeated by the first step after a state was loaded."""
        (options,) = self.param_groups
        weights = [weight for weight in options["params"] if weight.grad is not None]
        counts = [self.state[weight].get("step", 0.0) for weight in weights if self.counts]
        self.is_first = not any(self.state.get(weight) for weight in weights)
        self.count = int(counts[0]) if counts else 0
        self.taken = torch.tensor(float(self.count), device=weights[0].device if weights else None)
        for weight in weights if self.counts else ():
            self.state[weight]["step"] = self.taken.clone()
        self.weights = [in_memory_order(weight.detach()) for weight in weights]
        self.gradients = [in_memory_order(weight.grad) for weight in weights]
        self.tensors = {}
        for name, option in self.kept.items():
            if option is None or options[option]:
                for weight in weights:
                    self.state[weight][name] = _laid_out_as(weight, self.state[weight].get(name))
                self.tensors[name] = [in_memory_order(self.state[weight][name]) for weight in weights]
        self.is_bound = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.is_bound = False  # a state was loaded: the tensors are new ones

    def update(self) -> None:
        """Take a step, without autograd. The next `step` writes the number of steps into the state."""
        if not self.is_bound:
            self.bind()
        self.count += 1
        self.taken.fill_(self.count)
        self.change(self.param_groups[0], [self.taken] * len(self.weights))
        self.is_first = False

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        outcome = None if closure is None else closure()
        self.update()
        for state in self.state.values() if self.counts else ():
            state["step"].copy_(self.taken)
        return outcome


def in_memory_order(tensor: Tensor) -> Tensor:
    """Transpose a matrix stored by columns; anything else stays as it is."""
    return tensor.t() if tensor.dim() == 2 and not tensor.is_contiguous() else tensor


def _laid_out_as(weight: Tensor, before: Tensor | None) -> Tensor:
    if before is None:
        return torch.zeros_like(weight, requires_grad=False)
    return before if before.stride() == weight.stride() else torch.empty_like(weight).detach().copy_(before)


class Adam(Fused, optim.Adam):
    """Kingma and Ba (2015); with decoupled decay AdamW, Loshchilov and Hutter (2019)."""

    kept: ClassVar = {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"}

    def change(self, options: Options, steps: list[Tensor]) -> None:
        kept = self.tensors
        beta1, beta2 = options["betas"]
        kernel = torch._fused_adamw_ if options["decoupled_weight_decay"] else torch._fused_adam_
        kernel(
            self.weights, self.gradients, kept["exp_avg"], kept["exp_avg_sq"], kept.get("max_exp_avg_sq", []), steps,
            lr=options["lr"], beta1=beta1, beta2=beta2, weight_decay=options["weight_decay"], eps=options["eps"],
            amsgrad=options["amsgrad"], maximize=options["maximize"],
        )  # fmt: skip


class AdamW(Adam, optim.AdamW):
    pass


class RMSprop(Fused, optim.RMSprop):
    """Hinton's lecture 6e (2012), without momentum and not centred: Adam without a mean gradient and its corrections.

    With beta1 = 0 the mean is the gradient itself, and both corrections are 1 where the count of steps is large.
    """

    kept: ClassVar = {"square_avg": None}

    def bind(self) -> None:
        super().bind()
        self.many = torch.full_like(self.taken, 1e9)

    def change(self, options: Options, steps: list[Tensor]) -> None:
        torch._fused_adam_(
            self.weights, self.gradients, self.gradients, self.tensors["square_avg"], [], [self.many] * len(steps),
            lr=options["lr"], beta1=0.0, beta2=options["alpha"], weight_decay=options["weight_decay"],
            eps=options["eps"], amsgrad=False, maximize=options["maximize"],
        )  # fmt: skip


class SGD(Fused, optim.SGD):
    """SGD with momentum, and Nesterov's as in Sutskever et al. (2013)."""

    counts = False
    kept: ClassVar = {"momentum_buffer": "momentum"}

    def change(self, options: Options, steps: list[Tensor]) -> None:
        torch._fused_sgd_(
            self.weights, self.gradients, self.tensors.get("momentum_buffer", []),
            weight_decay=options["weight_decay"], momentum=options["momentum"], lr=options["lr"],
            dampening=options["dampening"], nesterov=options["nesterov"], maximize=options["maximize"],
            is_first_step=self.is_first,
        )  # fmt: skip


def optimizer_class(name: str, arguments: Options, cycles_momentum: bool = False) -> type[optim.Optimizer]:
    """Return the class of torch.optim called `name`, or its fused version here if that supports the `arguments`.

    `cycles_momentum`: whether a schedule will set the momentum.
    """
    own: dict[str, type[Fused]] = {"Adam": Adam, "AdamW": AdamW, "RMSprop": RMSprop, "SGD": SGD}
    asks = any(arguments.get(key) for key in ("foreach", "fused", "capturable", "differentiable"))
    if name == "RMSprop":
        asks = asks or cycles_momentum or any(arguments.get(key) for key in ("momentum", "centered"))
    kind: type[optim.Optimizer] = getattr(optim, name)
    return kind if asks else own.get(name, kind)
