"""Hand-written JAX: one compiled function for an epoch, its validation and the choice of the best weights.

It has one `jax.lax.scan` over the steps. An incomplete last batch is skipped; neither recipe has one.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import mnist
import numpy as np
from recipes import Recipe

map_leaves = jax.tree_util.tree_map


def train(recipe: Recipe) -> dict[str, Any]:
    (images, labels), (test_images, test_labels) = mnist.arrays()
    val_images, val_labels = images[: recipe.val_size], labels[: recipe.val_size]
    data = map_leaves(jnp.asarray, (images[recipe.val_size :], labels[recipe.val_size :]))
    val_data = map_leaves(jnp.asarray, (val_images, val_labels))

    def epoch(state: Any, data: Any, val_data: Any, rows: Any, key: Any) -> Any:
        # rows: (steps, batch)
        def step(carry: Any, now: Any) -> Any:
            weights, moments, count = carry
            batch = map_leaves(lambda array: array[now[0]], data)
            loss, gradients = jax.value_and_grad(cross_entropy)(weights, *batch, recipe.dropout, now[1])
            return (*updated(recipe, weights, moments, gradients, count + 1), count + 1), loss

        best, best_loss, *carry = state
        carry, losses = jax.lax.scan(step, tuple(carry), (rows, jax.random.split(key, len(rows))))
        loss = cross_entropy(carry[0], *val_data) if recipe.val_size else -carry[2]  # else the last
        best = map_leaves(lambda new, old: jnp.where(loss < best_loss, new, old), carry[0], best)
        return (best, jnp.minimum(loss, best_loss), *carry), losses.mean()

    compiled = jax.jit(epoch, donate_argnums=0)
    rng = np.random.default_rng()
    key = jax.random.key(int(rng.integers(2**31)))
    weights = initial(recipe, rng)
    zeros = [map_leaves(jnp.zeros_like, weights) for _ in range(2 if recipe.optimizer == "Adam" else 1)]
    state = (map_leaves(jnp.copy, weights), jnp.float32(jnp.inf), weights, zeros, jnp.float32(0))
    seconds = []
    for number in range(recipe.epochs):
        started = time.perf_counter()
        rows = rng.permutation(len(data[0]))[: recipe.steps * recipe.batch_size].reshape(recipe.steps, -1)
        state, loss = compiled(state, data, val_data, rows, jax.random.fold_in(key, number))
        loss.block_until_ready()
        seconds.append(time.perf_counter() - started)
    guesses = jax.jit(logits)(state[0], test_images).argmax(axis=1)
    return {"epochs_s": seconds, "test_acc": float((guesses == test_labels).mean())}


def initial(recipe: Recipe, rng: np.random.Generator) -> Any:
    """Draw weights by layer from Glorot and Bengio's uniform distribution (2010); biases are zero, as in Keras."""
    layers = zip(recipe.widths[:-1], recipe.widths[1:], strict=True)
    bounds = [((inputs, outputs), (6 / (inputs + outputs)) ** 0.5) for inputs, outputs in layers]
    return [
        (jnp.asarray(rng.uniform(-bound, bound, shape), jnp.float32), jnp.zeros(shape[1])) for shape, bound in bounds
    ]


def logits(weights: Any, images: Any, dropout: float = 0.0, key: Any = None) -> Any:
    values = images
    for number, (weight, bias) in enumerate(weights[:-1]):
        values = jax.nn.relu(values @ weight + bias)
        if dropout and key is not None:
            kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - dropout, values.shape)
            values = jnp.where(kept, values / (1 - dropout), 0)
    return values @ weights[-1][0] + weights[-1][1]


def cross_entropy(weights: Any, images: Any, labels: Any, dropout: float = 0.0, key: Any = None) -> Any:
    likelihoods = jax.nn.log_softmax(logits(weights, images, dropout, key))
    return -jnp.take_along_axis(likelihoods, labels[:, None].astype(int), axis=1).mean()


def updated(recipe: Recipe, weights: Any, moments: Any, gradients: Any, count: Any) -> Any:
    """Return weights and moments after Adam's or RMSprop's update, with the same constants as the other contestants."""
    if recipe.optimizer == "Adam":
        mean = map_leaves(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradients)
        square = map_leaves(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradients)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        new = map_leaves(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, mean, square)
        return new, [mean, square]
    square = map_leaves(lambda v, g: 0.9 * v + 0.1 * g * g, moments[0], gradients)
    return map_leaves(lambda w, g, v: w - 1e-3 * g / (jnp.sqrt(v) + 3.16e-4), weights, gradients, square), [square]
