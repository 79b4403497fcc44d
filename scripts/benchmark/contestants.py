"""Train a recipe without this project, in a separate process: `contestants.py NAME RECIPE`, the recipe as JSON.

Prints as JSON the seconds of each epoch, with its validation, and the test accuracy. All contestants use pixels from 0
to 1 and a new order in each epoch. With validation, its images are drawn at random, and the weights of the best epoch
are tested.
"""

import importlib
import json
import sys

from recipes import Recipe

LIMIT = "arithmetic limit"
MODULES = {"Keras on JAX": "keras_jax", "JAX scan": "jax_scan", LIMIT: "limit"}

if __name__ == "__main__":
    name, recipe = sys.argv[1:]
    outcome = importlib.import_module(MODULES[name]).train(Recipe(**json.loads(recipe)))
    print("\n" + json.dumps(outcome))
