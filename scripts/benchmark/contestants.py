"""Ways to train recipes without this project, each a process of its own: `contestants.py NAME RECIPE...` (as JSON).

Prints seconds by epoch, with its validation, and the test accuracy as JSON. All take pixels from 0 to 1 and a new order
in each epoch; where there is validation, its images are drawn at random, and the weights of the best epoch are tested.
"""

import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import mnist
from recipes import Recipe

Outcome = dict[str, Any]


def bare_loop(recipe: Recipe) -> Outcome:
    """The loop of a PyTorch tutorial over tensors in memory: what PyTorch itself costs."""
    import torch
    from torch import nn
    from torchvision import datasets

    torch.set_num_threads(1)
    train, test = (datasets.MNIST(mnist.data_root(), train=part) for part in (True, False))
    order = torch.randperm(60_000)
    images, labels = train.data[order].float().flatten(1) / 255, train.targets[order]
    (val_images, images), (val_labels, labels) = (
        part.split((recipe.val_size, 60_000 - recipe.val_size)) for part in (images, labels)
    )
    network = _torch_network(recipe)
    optimizer = _torch_optimizer(recipe, network.parameters())
    seconds, best_loss, best = [], float("inf"), None
    for _ in range(recipe.epochs):
        started = time.perf_counter()
        network.train()
        for rows in torch.randperm(len(images)).split(recipe.batch_size):
            loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if recipe.val_size:
            network.eval()
            with torch.no_grad():
                val_loss = nn.functional.cross_entropy(network(val_images), val_labels).item()
            if val_loss < best_loss:
                best_loss, best = val_loss, copy.deepcopy(network.state_dict())
        seconds.append(time.perf_counter() - started)
    if best is not None:
        network.load_state_dict(best)
    network.eval()
    with torch.no_grad():
        guesses = network(test.data.float().flatten(1) / 255).argmax(dim=1)
    return {"epochs_s": seconds, "test_acc": (guesses == test.targets).float().mean().item()}


def plain_lightning(recipe: Recipe) -> Outcome:
    """What most projects do: torchvision's transforms, one image at a time, and a LightningModule that logs."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader, random_split
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    cross_entropy = torch.nn.functional.cross_entropy
    seconds: list[float] = []

    class Plain(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = _torch_network(recipe)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = cross_entropy(self.network(batch[0]), batch[1])
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self._score("val", batch)

        def test_step(self, batch: Any, batch_idx: int) -> None:
            self._score("test", batch)

        def _score(self, stage: str, batch: Any) -> None:
            logits = self.network(batch[0])
            self.log(f"{stage}_loss", cross_entropy(logits, batch[1]))
            self.log(f"{stage}_acc", (logits.argmax(dim=1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            return _torch_optimizer(recipe, self.parameters())

        def on_train_epoch_start(self) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            seconds.append(time.perf_counter() - self.started)

    data = [datasets.MNIST(mnist.data_root(), train=part, transform=transforms.ToTensor()) for part in (True, False)]
    val, train = random_split(data[0], (recipe.val_size, 60_000 - recipe.val_size))
    loaders = [DataLoader(part, recipe.batch_size, shuffle=part is train) for part in (train, val, data[1])]
    with tempfile.TemporaryDirectory() as folder:
        kept = ModelCheckpoint(monitor="val_loss") if recipe.val_size else ModelCheckpoint()
        trainer = Trainer(
            max_epochs=recipe.epochs, accelerator="cpu", devices=1, default_root_dir=folder, callbacks=[kept]
        )
        module = Plain()
        trainer.fit(module, loaders[0], loaders[1] if recipe.val_size else None)
        best = kept.best_model_path or None
        (figures,) = trainer.test(module, loaders[2], ckpt_path=best, weights_only=True, verbose=False)
    return {"epochs_s": seconds, "test_acc": figures["test_acc"]}


def keras_jax(recipe: Recipe) -> Outcome:
    """The Keras tutorials' own way, on JAX."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    (images, labels), (test_images, test_labels) = mnist.arrays()
    layers: list[Any] = [keras.layers.Input((784,))]
    for width in recipe.hidden:
        layers.append(keras.layers.Dense(width, "relu"))
        if recipe.dropout:
            layers.append(keras.layers.Dropout(recipe.dropout))
    network = keras.Sequential([*layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Keras adds epsilon under the root, torch after it: with this the denominators are the same where the mean square
    # is 1e-7. (With Keras's own 1e-7 the second recipe reaches 97.8 %.)
    optimizer = keras.optimizers.RMSprop(epsilon=3e-7) if recipe.optimizer == "RMSprop" else recipe.optimizer.lower()
    network.compile(optimizer, loss, metrics=["accuracy"])
    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.started)

    callbacks: list[Any] = [Clock()]
    if recipe.val_size:
        callbacks.append(keras.callbacks.EarlyStopping(patience=recipe.epochs, restore_best_weights=True))
    network.fit(
        images, labels, batch_size=recipe.batch_size, epochs=recipe.epochs, callbacks=callbacks,
        validation_split=recipe.val_size / 60_000,
    )  # fmt: skip
    return {"epochs_s": seconds, "test_acc": network.evaluate(test_images, test_labels)[1]}


def jax_scan(recipe: Recipe) -> Outcome:
    import jax_scan

    return jax_scan.train(recipe)


def scikit_learn(recipe: Recipe) -> Outcome:
    """MLPClassifier has Adam and no dropout: both recipes are trained with Adam, and without."""
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    (images, labels), (test_images, test_labels) = mnist.arrays()
    val_images, val_labels = images[: recipe.val_size], labels[: recipe.val_size]
    images, labels = images[recipe.val_size :], labels[recipe.val_size :]
    network = MLPClassifier(recipe.hidden, alpha=0.0, batch_size=recipe.batch_size)
    seconds, best_loss, best = [], float("inf"), network
    for _ in range(recipe.epochs):
        started = time.perf_counter()
        network.partial_fit(images, labels, classes=range(10))  # one epoch
        if recipe.val_size:
            val_loss = log_loss(val_labels, network.predict_proba(val_images))
            if val_loss < best_loss:
                best_loss, best = val_loss, copy.deepcopy(network)
        seconds.append(time.perf_counter() - started)
    return {"epochs_s": seconds, "test_acc": best.score(test_images, test_labels)}


def limit(recipe: Recipe) -> Outcome:
    import limit

    return limit.measure(recipe)


def _torch_network(recipe: Recipe) -> Any:
    from torch import nn

    layers: list[Any] = [nn.Flatten()]
    features = 784
    for width in recipe.hidden:
        layers += [nn.Linear(features, width), nn.ReLU()]
        if recipe.dropout:
            layers.append(nn.Dropout(recipe.dropout))
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 10))


def _torch_optimizer(recipe: Recipe, parameters: Any) -> Any:
    from torch import optim

    if recipe.optimizer == "Adam":
        return optim.Adam(parameters, fused=True)  # the fastest that torch has
    return optim.RMSprop(parameters, lr=1e-3, alpha=0.9, eps=3.16e-4)  # Keras adds 1e-7 under the root


LIMIT = "arithmetic limit"
CONTESTANTS: dict[str, Callable[[Recipe], Outcome]] = {
    "Keras on JAX": keras_jax,
    "JAX scan": jax_scan,
    "bare PyTorch loop": bare_loop,
    "scikit-learn": scikit_learn,
    "plain Lightning": plain_lightning,
    LIMIT: limit,
}

if __name__ == "__main__":
    for text in sys.argv[2:]:
        print("\n" + json.dumps(CONTESTANTS[sys.argv[1]](Recipe(**json.loads(text)))))
