import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from mlplab.data import augmentation
from mlplab.data.augmentation import Distortion, affine, elastic, matrices_of, sample
from mlplab.randomness import bits

EVERYTHING = Distortion(2, 0.5, 15.0, (0.85, 1.15), 15.0, 34.0, 4.0)
NEAR = 0.01  # grey levels out of 255, for 32-bit rounding


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (40, 1, 28, 28), generator=generator, dtype=torch.uint8)


def _moved(
    images: Tensor,
    rotation: float = 0.0,
    scale: float = 1.0,
    shear: float = 0.0,
    flipped: bool = False,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Distort all images in the same way."""
    numbers = (torch.full((len(images),), value) for value in (rotation, scale, shear))
    matrices = matrices_of(*numbers, torch.full((len(images),), flipped))
    return sample(images.float(), affine(images, matrices, torch.tensor(shift).expand(len(images), 2)))


def _near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=NEAR)


@pytest.mark.parametrize("distortion", [Distortion(), Distortion(elastic_sigma=2.0)])
def test_without_strength_nothing_changes(distortion: Distortion, images: Tensor) -> None:
    assert distortion.is_identity
    assert torch.equal(distortion(images, 3), images)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 9, 14)])
def test_places_that_stay_give_the_images(shape: tuple[int, ...]) -> None:
    images = torch.arange(2 * math.prod(shape)).remainder(256).view(2, *shape)
    _near(_moved(images), images)
    _near(sample(images.float(), affine(images).expand(2, -1, -1, -1)), images)


def test_shifts_are_whole_pixels_and_all_occur_alike() -> None:
    """A white pixel on black shows the shift of its image."""
    images = torch.zeros(5000, 1, 8, 8)
    images[:, :, 3, 4] = 255
    found = Distortion(shift=2)(images, 0)
    assert found.flatten(1).amax(dim=1).min() > 255 - NEAR
    places = found.flatten(1).argmax(dim=1)
    x, y = places % 8 - 4, places // 8 - 3
    counts = torch.bincount((x + 2) * 5 + y + 2, minlength=25)
    assert len(counts) == 25
    assert float(((counts - 200) ** 2 / 200).sum()) < 51.2  # exceeded once in a thousand times, with 24 degrees


def test_a_share_of_the_images_is_flipped(images: Tensor) -> None:
    many = images.repeat(50, 1, 1, 1)
    found = Distortion(flip=0.3)(many, 0)
    stay = (found - many).abs().flatten(1).amax(dim=1) < NEAR
    turn = (found - many.flip(3)).abs().flatten(1).amax(dim=1) < NEAR
    assert (stay ^ turn).all()
    assert turn.double().mean().item() == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("rotation", "scale", "shear", "shift"),
    [(20.0, 1.3, 12.0, (1.5, -2.25)), (-90.0, 1.0, 0.0, (3.0, 5.0)), (180.0, 0.5, -40.0, (0.0, 0.0))],
)
def test_moves_follow_each_other_in_the_order_that_is_told(
    images: Tensor, rotation: float, scale: float, shear: float, shift: tuple[float, float]
) -> None:
    """Compare with scipy and an explicit product of matrices in (x, y), y downwards."""
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    rotate = np.array([[cos, sin], [-sin, cos]])
    lean = np.array([[1.0, math.tan(math.radians(shear))], [0.0, 1.0]])
    back = np.linalg.inv(rotate @ (scale * np.eye(2)) @ lean @ np.diag([-1.0, 1.0]))
    x, y = np.meshgrid(np.arange(28) - 13.5, np.arange(28) - 13.5)
    places = np.tensordot(back, np.stack([x - shift[0], y - shift[1]]), axes=1) + 13.5
    found = _moved(images, rotation, scale, shear, True, shift)
    for image, expected in zip(found[:, 0], images[:, 0], strict=True):
        _near(image, _by_scipy(expected, places))


@pytest.mark.parametrize("scale", [1.0, 1.2])
def test_an_elastic_displacement_is_in_pixels_of_the_image_as_it_was(images: Tensor, scale: float) -> None:
    """An enlarged image is displaced by more pixels."""
    displacement = elastic(images, 34.0, 4.0, 7)
    found = Distortion(scale=(scale, scale), elastic_alpha=34.0, elastic_sigma=4.0)(images, 7)
    x, y = np.meshgrid(np.arange(28) - 13.5, np.arange(28) - 13.5)
    for image, original, moved in zip(found[:, 0], images[:, 0], displacement.double().numpy(), strict=True):
        _near(image, _by_scipy(original, np.stack([x, y]) / scale + 13.5 + moved))


def _by_scipy(image: Tensor, places: "np.ndarray[Any, Any]") -> Tensor:
    """`places` (2, H, W): x and y from the first pixel."""
    return torch.from_numpy(
        ndimage.map_coordinates(image.double().numpy(), places[::-1], order=1, mode="grid-constant")
    )


@pytest.mark.parametrize("sigma", [0.01, 0.5, 0.99, 2.0, 4.0, 20.0])
def test_the_displacement_is_a_smoothed_field(sigma: float) -> None:
    images = torch.empty(5, 1, 20, 28)
    field = (bits((5, 2, 20, 28), 9, augmentation.OF_PIXELS).double() + 0.5) / 2**15  # from -1 to 1
    assert field.abs().max() < 1
    expected = ndimage.gaussian_filter(field.numpy(), sigma, axes=(2, 3), mode="constant", truncate=12)
    found = elastic(images, 10.0, sigma, 9)
    torch.testing.assert_close(found.double(), 10 * torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_the_displacement_is_as_large_as_alpha_and_sigma_say() -> None:
    """Tested in the middle of the image, in both directions, which are independent."""
    found = elastic(torch.empty(2000, 1, 28, 28), 34.0, 3.0, 1)[:, :, 14, 14]
    expected = 34 / (3 * math.sqrt(12 * math.pi))
    assert found.std(dim=0).tolist() == pytest.approx([expected, expected], rel=5 / math.sqrt(2 * 2000))
    assert found.mean(dim=0).tolist() == pytest.approx([0, 0], abs=5 * expected / math.sqrt(2000))
    assert abs(torch.corrcoef(found.T)[0, 1].item()) < 5 / math.sqrt(2000)


def test_the_seed_is_all_there_is(images: Tensor) -> None:
    found = EVERYTHING(images, 5)
    torch.manual_seed(1)
    assert torch.equal(EVERYTHING(images, 5), found)
    other = EVERYTHING(images, 6)
    assert ((found - other).abs().flatten(1).amax(dim=1) > 10).all()
    alike = EVERYTHING(images[:1].expand(40, -1, -1, -1), 5)  # each image has a share of its own
    assert len(alike.unique(dim=0)) == 40


def test_an_image_does_not_depend_on_those_after_it(images: Tensor) -> None:
    _near(EVERYTHING(images[:7], 5), EVERYTHING(images, 5)[:7])


def test_pixels_stay_in_their_range(images: Tensor) -> None:
    white = torch.full((40, 1, 28, 28), 255.0)
    for seed in range(20):
        for before in (images, white):
            found = EVERYTHING(before, seed)
            assert found.dtype == torch.float32
            assert found.min() >= 0
            assert found.max() <= 255


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"shift": -1}, "a whole number of at least 0, got -1"),
        ({"shift": 1.5}, "a whole number"),
        ({"flip": 1.1}, "from 0 to 1, got 1.1"),
        ({"rotation": 181.0}, "from 0 to 180"),
        ({"rotation": math.nan}, "from 0 to 180"),
        ({"scale": (1.2, 0.8)}, "the smaller first"),
        ({"scale": (0.0, 1.0)}, "above 0"),
        ({"scale": (1.0,)}, "two factors"),
        ({"shear": 90.0}, "below 90"),
        ({"elastic_alpha": -1.0}, "at least 0"),
        ({"elastic_sigma": 0.0}, "at least 0.01"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], rule: str) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"`{name}` must be .*{rule}.*regularization\.{name}"):
        Distortion(**arguments)


def test_a_list_is_as_good_as_a_tuple() -> None:
    given: dict[str, Any] = {"scale": [0.9, 1.1]}  # as files have it
    assert Distortion(**given) == Distortion(scale=(0.9, 1.1))
