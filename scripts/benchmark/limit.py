"""The minimum time of an epoch on this machine: its matrix products, and the memory traffic of the updates.

Not counted: gathering a batch, bias and activation, dropout, loss, the arithmetic of an update, and validation.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from recipes import Recipe

ARRAYS_READ = {"Adam": 4, "RMSprop": 3}  # weights, gradients, and one moment or two; all but the gradients are written
TURNS, TURN_S = 10, 0.05
PAIRS = 8  # of arrays in memory: their addresses determine how much of a small set stays in the cache


def train(recipe: Recipe) -> dict[str, Any]:
    """Return the seconds of an epoch, and the microseconds of both parts of a step, on one thread."""
    torch.set_num_threads(1)
    products_s = min(fastest(products(recipe, in_rows)) for in_rows in (True, False))
    weights_bytes = 4 * sum(outputs * (inputs + 1) for outputs, inputs in shapes(recipe))
    read = ARRAYS_READ[recipe.optimizer]
    update_s = (2 * read - 1) * weights_bytes / copy_rate(read * weights_bytes)
    epoch_s = recipe.steps * (products_s + update_s)
    return {"epochs_s": [epoch_s], "products_us": 1e6 * products_s, "update_us": 1e6 * update_s}


def products(recipe: Recipe, in_rows: bool) -> Callable[[], None]:
    """Compute the products of a step: forward, then from the last layer the gradients of weights and inputs.

    The gradient of the first layer's input is left out. `in_rows`: the weights of a unit are contiguous in memory, as
    in torch.nn.Linear.
    """
    values, gradients = ([torch.rand(recipe.batch_size, width) for width in recipe.widths] for _ in range(2))
    weights, weight_gradients = ([_matrix(*shape, in_rows) for shape in shapes(recipe)] for _ in range(2))
    biases = [torch.rand(outputs) for outputs, _ in shapes(recipe)]

    def step() -> None:
        for layer, weight in enumerate(weights):
            torch.addmm(biases[layer], values[layer], weight.t(), out=values[layer + 1])
        for layer in reversed(range(len(weights))):
            torch.mm(gradients[layer + 1].t(), values[layer], out=weight_gradients[layer])
            if layer:
                torch.mm(gradients[layer + 1], weights[layer], out=gradients[layer])

    return step


def copy_rate(working_set: int) -> float:
    """Return the bytes read and written per second when one half of `working_set` bytes is copied to the other."""
    pairs = [[torch.rand(working_set // 8) for _ in range(2)] for _ in range(PAIRS)]
    return 2 * pairs[0][0].nbytes / min(fastest(partial(target.copy_, source)) for source, target in pairs)


def fastest(call: Callable[[], object]) -> float:
    """Return the seconds of a call, in the fastest of several turns."""
    calls = max(1, round(TURN_S / min(_seconds(call, 1) for _ in range(3))))
    return min(_seconds(call, calls) for _ in range(TURNS))


def _seconds(call: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls


def shapes(recipe: Recipe) -> list[tuple[int, int]]:
    """Return outputs and inputs of each layer."""
    return list(zip(recipe.widths[1:], recipe.widths[:-1], strict=True))


def _matrix(outputs: int, inputs: int, in_rows: bool) -> torch.Tensor:
    return torch.rand(outputs, inputs) / inputs if in_rows else (torch.rand(inputs, outputs) / inputs).t()
