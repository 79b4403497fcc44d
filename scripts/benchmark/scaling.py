"""How the time of an epoch grows with width and batch size, beside the limit of the arithmetic."""

from dataclasses import replace
from typing import Any

from contestants import LIMIT
from recipes import RECIPES, Recipe
from turns import FIRST, Benchmark

CONTESTANTS = (FIRST, "Keras on JAX", "JAX scan", "bare PyTorch loop", LIMIT)
WIDTHS = (32, 128, 192, 512, 1024)  # with batches of 32
BATCHES = (16, 32, 125, 500, 2000)  # with 128 units; none leaves a last batch that is short
EPOCHS = 3  # of a turn, the first of which does not count


def measure(rounds: int) -> dict[str, Any]:
    """Microseconds per training image of a network 784-width-10 trained by Adam: medians, and ratios within a round."""
    example = replace(RECIPES["mnist_128_adam"], epochs=EPOCHS)
    recipes = {
        "width": {width: replace(example, hidden=(width,)) for width in WIDTHS},
        "batch": {batch: replace(example, batch_size=batch) for batch in BATCHES},
    }
    found: dict[Recipe, dict[str, Any]] = {}
    curves: dict[str, list[dict[str, Any]]] = {axis: [] for axis in recipes}
    for axis, points in recipes.items():
        for value, recipe in points.items():
            recipe = replace(recipe, title=f"784-{recipe.hidden[0]}-10, batch {recipe.batch_size}")
            if recipe not in found:
                found[recipe] = Benchmark(CONTESTANTS, rounds).results(recipe, first_runs=False)
            results = found[recipe].items()
            medians = {name: 1e6 * figures["medians"]["epoch_s"] / 60_000 for name, figures in results}
            ratios = {name: figures["ratios"]["epoch_s"] for name, figures in results}
            curves[axis].append({axis: value, "median": medians, "ratios": ratios})
    return {"rounds": rounds, "us_per_image": curves}
