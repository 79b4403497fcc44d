"""The least time that the arithmetic of an epoch takes this machine: its matrix products, and what an update moves.

Without what else a step does: to gather a batch, bias and activation, dropout, loss, and the arithmetic of an update;
nor validation.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from recipes import Recipe

ARRAYS_READ = {"Adam": 4, "RMSprop": 3}  # weights, gradients, and one moment or two; all but the gradients are written
TURNS, TURN_S = 10, 0.05
PLACES = 8  # in memory, which decides how much of a small set stays in the cache


def measure(recipe: Recipe) -> dict[str, Any]:
    """Seconds of an epoch, and microseconds of both parts of a step, on one thread."""
    torch.set_num_threads(1)
    products_s = min(fastest(products(recipe, in_rows)) for in_rows in (True, False))
    update_s = bytes_moved(recipe) / copy_rate(ARRAYS_READ[recipe.optimizer] * _weights_bytes(recipe))
    return {
        "epochs_s": [recipe.steps * (products_s + update_s)],
        "products_us": 1e6 * products_s,
        "update_us": 1e6 * update_s,
    }


def products(recipe: Recipe, in_rows: bool) -> Callable[[], None]:
    """Those of a step, one after the other as a step has them: forward, then for each layer from the last the gradient
    of its weights and, but for the first, of its inputs.

    Args:
        recipe: its shapes.
        in_rows: a unit's weights lie side by side in memory, as in torch.nn.Linear, or else those of an input.
    """
    values, gradients = ([torch.rand(recipe.batch_size, width) for width in recipe.widths] for _ in range(2))
    weights, weight_gradients = ([_matrix(*shape, in_rows) for shape in _shapes(recipe)] for _ in range(2))
    biases = [torch.rand(outputs) for outputs, _ in _shapes(recipe)]

    def step() -> None:
        for layer, weight in enumerate(weights):
            torch.addmm(biases[layer], values[layer], weight.t(), out=values[layer + 1])
        for layer in reversed(range(len(weights))):
            torch.mm(gradients[layer + 1].t(), values[layer], out=weight_gradients[layer])
            if layer:
                torch.mm(gradients[layer + 1], weights[layer], out=gradients[layer])

    return step


def bytes_moved(recipe: Recipe) -> int:
    """Of an update that reads and writes each array once."""
    return (2 * ARRAYS_READ[recipe.optimizer] - 1) * _weights_bytes(recipe)


def copy_rate(working_set: int) -> float:
    """Bytes read and written in a second where one half of so many bytes is copied to the other: small sets lie in a
    cache.
    """
    pairs = [[torch.rand(working_set // 8) for _ in range(2)] for _ in range(PLACES)]
    return 2 * pairs[0][0].nbytes / min(fastest(partial(target.copy_, source)) for source, target in pairs)


def fastest(call: Callable[[], object]) -> float:
    """Seconds of a call, in the fastest of some turns."""
    calls = max(1, round(TURN_S / min(_seconds(call, 1) for _ in range(3))))
    return min(_seconds(call, calls) for _ in range(TURNS))


def _seconds(call: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls


def _shapes(recipe: Recipe) -> Iterator[tuple[int, int]]:
    """Outputs and inputs of each layer."""
    return zip(recipe.widths[1:], recipe.widths[:-1], strict=True)


def _matrix(outputs: int, inputs: int, in_rows: bool) -> torch.Tensor:
    """Small numbers, so that no value grows from layer to layer."""
    return torch.rand(outputs, inputs) / inputs if in_rows else (torch.rand(inputs, outputs) / inputs).t()


def _weights_bytes(recipe: Recipe) -> int:
    return 4 * sum(outputs * (inputs + 1) for outputs, inputs in _shapes(recipe))
