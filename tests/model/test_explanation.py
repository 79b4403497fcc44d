"""Explanations against finite differences, brute force, and optimizers of SciPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run
from scipy.optimize import minimize
from torch import Tensor

from mlplab.data import datasets
from mlplab.data.datamodule import ImageDataModule
from mlplab.data.splits import SplitDataset
from mlplab.model.classifier import Classifier
from mlplab.model.explanation import Explainer, shortest_step
from mlplab.model.predictor import Predictor
from mlplab.training import restore

Loaded = tuple[Predictor, SplitDataset]
SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def loaded(digits_run: Run) -> Loaded:
    classifier, datamodule = restore.load(digits_run.folder)
    datamodule.setup()
    return classifier, datamodule


def digits(count: int) -> Tensor:
    return datasets.load("digits", Path()).test_images[:count]


def random_network(hidden: list[int], normalize: Any, **given: Any) -> Loaded:
    torch.manual_seed(0)
    datamodule = ImageDataModule("digits", normalize=normalize)
    classifier = Classifier(hidden, image_shape=SHAPE, **given)
    if given.get("batch_norm"):
        classifier.mlp(datamodule.normalized(digits(200)))  # so that its statistics are not those it begins with
    return classifier.eval(), datamodule


@pytest.mark.parametrize("normalize", ["standard", "unit", "symmetric"])
@pytest.mark.parametrize("given", [{}, {"batch_norm": True, "dropout": 0.5}], ids=str)
def test_input_times_gradient_is_that_of_finite_differences(normalize: str, given: dict[str, Any]) -> None:
    classifier, datamodule = random_network([16], normalize, activation="Tanh", **given)
    classifier.double()
    images, classes = digits(3), torch.tensor([4, 0, 9])
    found = Explainer(classifier, datamodule).input_times_gradient(images, classes)
    black, white = datamodule.normalized(torch.tensor([0, 255]).view(2, 1, 1, 1)).double().flatten()

    def logits(pixels: Tensor) -> Tensor:
        return classifier(black + pixels.view(-1, *SHAPE) * (white - black) / 255).detach()

    for image, k, attribution in zip(images.double(), classes, found, strict=True):
        nudges = 1e-3 * torch.eye(64, dtype=torch.float64)
        ends = [logits(image.flatten() + sign * nudges)[:, k] for sign in (1, -1)]
        expected = image.flatten() * (ends[0] - ends[1]) / 2e-3
        torch.testing.assert_close(attribution.double().flatten(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("part", [5000, 100])
def test_the_nearest_training_images_are_those_of_brute_force(
    loaded: Loaded, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlplab.model.explanation.PART", part)
    classifier, datamodule = loaded
    found = Explainer(classifier, datamodule).nearest(digits(5), 10)
    kept: list[np.ndarray] = []
    hook = list(classifier.mlp)[-1].register_forward_pre_hook(lambda _, given: kept.append(given[0].numpy()))
    training, _ = datamodule.train_data()
    with torch.no_grad():
        classifier(datamodule.normalized(digits(5)))
        classifier(datamodule.normalized(training))
    hook.remove()
    own, others = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in kept)
    cosines = own @ others.T
    cosines[:, datamodule.val_rows] = -2  # it was not trained on these
    order = np.argsort(-cosines, axis=1)[:, :10]
    assert np.allclose(found.cosines, np.take_along_axis(cosines, order, axis=1), atol=1e-5)
    assert np.allclose(np.take_along_axis(cosines, found.rows.numpy(), axis=1), found.cosines, atol=1e-5)
    assert [len(set(row)) for row in found.rows.tolist()] == [10] * 5


def test_fewer_training_images_than_wanted_are_all_found(loaded: Loaded) -> None:
    rows = Explainer(*loaded).nearest(digits(1), 10_000).rows
    assert rows[0].sort().values.tolist() == loaded[1].train_rows.sort().values.tolist()


def test_the_shortest_step_is_that_of_a_general_optimizer() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        normal, low, high = generator.normal(size=6), -generator.random(6), generator.random(6)
        most = np.where(normal > 0, normal * high, normal * low).sum()
        needed = most * generator.random()
        limit = {"type": "ineq", "fun": lambda d, n=normal, m=needed: n @ d - m}
        bounds = list(zip(low, high, strict=True))
        expected = minimize(lambda d: d @ d, np.zeros(6), bounds=bounds, constraints=[limit], options={"ftol": 1e-14}).x
        given = [torch.from_numpy(part) for part in (normal[None], np.array([needed]), low, high)]
        assert shortest_step(*given)[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_a_step_that_is_too_long_for_its_range_goes_to_the_end() -> None:
    normals = torch.tensor([[1.0, -2.0, 0.0]])
    step = shortest_step(normals, torch.tensor([100.0]), -torch.ones(3), torch.tensor([1.0, 2.0, 3.0]))
    assert step.tolist() == [[1.0, -1.0, 0.0]]
    assert shortest_step(normals, torch.tensor([-1.0]), -torch.ones(3), torch.ones(3)).tolist() == [[0.0, 0.0, 0.0]]


def closest(classifier: Classifier, datamodule: ImageDataModule, image: Tensor, answer: int) -> float:
    """Return the distance to the nearest boundary by sequential quadratic programming, for pixels from 0 to 1."""
    start = image.flatten().double().numpy() / 255
    black, white = datamodule.normalized(torch.tensor([0, 255]).view(2, 1, 1, 1)).double().flatten()

    def lead(pixels: np.ndarray, k: int) -> tuple[float, np.ndarray]:
        values = torch.from_numpy(pixels).requires_grad_()
        logits = classifier.mlp((black + values * (white - black)).float().view(1, *SHAPE))[0]
        (gradient,) = torch.autograd.grad(logits[k] - logits[answer], values)
        return float((logits[k] - logits[answer]).detach()), gradient.numpy()

    found = []
    for k in set(range(10)) - {answer}:
        crosses = {"type": "ineq", "fun": lambda x, k=k: lead(x, k)[0], "jac": lambda x, k=k: lead(x, k)[1]}
        options = {"method": "SLSQP", "bounds": [(0, 1)] * 64, "options": {"maxiter": 200, "ftol": 1e-8}}
        jac = {"jac": lambda x: 2 * (x - start), "constraints": [crosses]}
        result = minimize(lambda x: ((x - start) ** 2).sum(), start, **options, **jac)
        if lead(result.x, k)[0] > -1e-3:
            found.append(float(np.sqrt(result.fun)))
    return min(found)


def test_the_smallest_change_turns_the_answer_and_is_hardly_larger_than_an_optimizers(loaded: Loaded) -> None:
    classifier, datamodule = loaded
    explainer = Explainer(classifier, datamodule)
    for image in digits(2):
        answer = int(classifier.predict_step(datamodule.normalized(image[None])).argmax())
        change = explainer.smallest_change(image)
        assert change is not None
        assert change.image.dtype == torch.uint8
        assert torch.equal(change.image.long(), image.long() + change.difference)
        now = classifier.predict_step(datamodule.normalized(change.image[None]))[0]
        assert int(now.argmax()) == change.answer != answer
        assert change.probability == pytest.approx(float(now.max().detach()))
        assert change.distance <= 1.03 * closest(classifier, datamodule, image, answer)


def test_the_size_of_a_change_is_that_of_its_pixels(loaded: Loaded) -> None:
    image = digits(2)[1]
    change = Explainer(*loaded).smallest_change(image)
    assert change is not None
    levels = change.image.double() - image
    assert change.distance == pytest.approx(float((levels / 255).square().sum().sqrt()))
    assert change.root_mean_square == pytest.approx(float(levels.square().mean().sqrt()))
    assert change.largest == levels.abs().max()


def test_an_answer_that_nothing_changes_is_not_turned() -> None:
    classifier, datamodule = random_network([], "standard")
    with torch.no_grad():
        classifier.mlp.logits.weight.zero_()
    assert Explainer(classifier, datamodule).smallest_change(digits(1)[0]) is None
    one_class = Classifier([], image_shape=SHAPE, classes=["only"])
    assert Explainer(one_class, datamodule).smallest_change(digits(1)[0]) is None
