from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mlplab import image_files
from mlplab.datasets import DatasetInfo
from mlplab.errors import DataError
from mlplab.image_files import Background

INFO = DatasetInfo(
    image_shape=(1, 28, 28), classes=tuple("0123456789"), mean=0.13, std=0.31, object_size=20, centred_by_mass=True
)


def _seven(size: tuple[int, int] = (400, 300), ground: str = "white", ink: str = "black") -> Image.Image:
    """A big digit, off the middle."""
    image = Image.new("RGB", size, ground)
    lines = [(40, 60), (130, 60), (80, 220)]
    ImageDraw.Draw(image).line(lines, fill=ink, width=18)
    return image


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "picture.png"


def _read(image: Image.Image, path: Path, background: Background = "auto") -> Tensor:
    image.save(path)
    return image_files.read(path, INFO, background)


def _is_framed(found: Tensor) -> bool:
    """In a box of 20 x 20, its centre of mass at pixel 14, as MNIST is."""
    pixels = found[0].double()
    rows, columns = pixels.any(dim=1).nonzero(), pixels.any(dim=0).nonzero()
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    places = torch.arange(28, dtype=torch.float64)
    centre_y = (pixels.sum(dim=1) * places).sum() / pixels.sum()
    centre_x = (pixels.sum(dim=0) * places).sum() / pixels.sum()
    in_the_middle = abs(centre_y - 14) <= 0.51 and abs(centre_x - 14) <= 0.51
    return max(height, width) == 20 and bool(in_the_middle)


def test_a_big_digit_lands_where_mnist_has_it(path: Path) -> None:
    found = _read(_seven(), path)
    assert (found.shape, found.dtype) == ((1, 28, 28), torch.uint8)
    assert _is_framed(found)
    assert found.max() > 200
    assert found[0, 0].max() == 0


@pytest.mark.parametrize("size", [(200, 260), (260, 200), (1000, 700), (131, 231)])
def test_any_size(path: Path, size: tuple[int, int]) -> None:
    assert _is_framed(_read(_seven().crop((0, 0, *size)), path))


def test_light_and_dark_ground_are_detected(path: Path) -> None:
    light = _read(_seven(), path)
    dark = _read(_seven(ground="black", ink="white"), path)
    torch.testing.assert_close(light.int(), dark.int(), rtol=0, atol=2)


def test_what_was_said_of_the_ground_is_believed(path: Path) -> None:
    pixels = np.full((28, 28), 200, np.uint8)
    pixels[10:18, 10:18] = 100
    pixels[12, 12] = 240
    exact = Image.fromarray(pixels)
    assert (_read(exact, path, "dark").numpy() == pixels).all()
    assert (_read(exact, path, "light").numpy() == 255 - pixels).all()
    assert (_read(exact, path, "auto").numpy() == 255 - pixels).all()


def test_the_ground_of_a_scan_is_taken_away(path: Path) -> None:
    found = _read(_seven(ground="#d8d8d8", ink="#303030"), path)
    assert _is_framed(found)
    assert found.max() > 200


@pytest.mark.parametrize("ink", ["red", "blue", "#004400"])
def test_colour(path: Path, ink: str) -> None:
    assert _is_framed(_read(_seven(ink=ink), path))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "RGBA"])
def test_any_mode_shows_the_same(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    grey = _seven().convert("L").point(lambda value: 255 * (value > 127))
    found = _read(grey.convert("RGB").convert(mode), path)
    torch.testing.assert_close(found.int(), _read(grey, tmp_path / "grey.png").int(), rtol=0, atol=3)


def test_what_is_transparent_is_white(path: Path) -> None:
    opaque = _seven()
    alpha = opaque.convert("L").point(lambda value: 255 - value)
    drawn = Image.new("RGBA", opaque.size, (0, 0, 0, 0))  # black, under full transparency as well
    drawn.putalpha(alpha)
    torch.testing.assert_close(_read(drawn, path).int(), _read(opaque, path).int(), rtol=0, atol=2)


def test_16_bits(path: Path) -> None:
    eight = np.asarray(_seven().convert("L"))
    deep = Image.fromarray(eight.astype(np.uint16) * 257)
    assert deep.mode.startswith("I")
    expected = _read(Image.fromarray(eight), path)
    assert torch.equal(_read(deep, path), expected)


@pytest.mark.parametrize("file", ["picture.jpg", "picture.gif", "picture.bmp", "picture.webp"])
def test_any_format(tmp_path: Path, file: str) -> None:
    assert _is_framed(_read(_seven(), tmp_path / file))


def test_a_photograph_is_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter to the right
    _seven().rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    found = image_files.read(tmp_path / "turned.jpg", INFO)
    _seven().save(tmp_path / "upright.jpg", quality=95)
    expected = image_files.read(tmp_path / "upright.jpg", INFO)
    assert (found.int() - expected.int()).abs().float().mean() < 2


def test_an_image_of_the_right_size_is_left_as_it_is(path: Path) -> None:
    pixels = torch.randint(256, (28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[0] = pixels[-1] = pixels[:, 0] = pixels[:, -1] = 0
    assert torch.equal(_read(Image.fromarray(pixels.numpy()), path)[0], pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (50, 50)])
def test_an_empty_picture_is_refused(path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="nothing stands out"):
        _read(Image.new("L", size, 255), path)


def test_floats_of_any_range(path: Path) -> None:
    drawing = np.zeros((40, 40), dtype=np.float32)
    drawing[10:30, 18:22] = 0.7
    tiff = path.with_suffix(".tif")
    Image.fromarray(drawing).save(tiff)
    found = image_files.read(tiff, INFO)
    assert found.max() == 255
    assert _is_framed(found)


def test_white_on_transparent(path: Path) -> None:
    drawing = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    drawing.paste((255, 255, 255, 255), (27, 10, 33, 50))
    assert _is_framed(_read(drawing, path))


def test_by_outline(path: Path) -> None:
    """As Fashion-MNIST is centred: the heavy end of a picture does not pull it aside."""
    drawing = Image.new("L", (300, 100), 255)
    drawing.paste(0, (50, 20, 90, 60))
    drawing.paste(0, (90, 38, 250, 42))
    drawing.save(path)
    found = image_files.read(path, replace(INFO, object_size=28, centred_by_mass=False))[0]
    rows, columns = found.any(dim=1).nonzero(), found.any(dim=0).nonzero()
    assert (int(columns[0]), int(columns[-1])) == (0, 27)
    assert abs((int(rows[0]) + int(rows[-1])) / 2 - 13.5) <= 0.5


def test_all_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png.*\n.*b\.png: does not exist"):
        image_files.read_all([tmp_path / "a.png", tmp_path / "b.png"], INFO)


@pytest.mark.parametrize("size", [(3, 300), (300, 3)])
def test_a_line_stays_a_line(path: Path, size: tuple[int, int]) -> None:
    image = Image.new("L", (400, 400), 255)
    image.paste(0, (50, 50, 50 + size[0], 50 + size[1]))
    found = _read(image, path)[0] > 0
    assert sorted([int(found.any(dim=0).sum()), int(found.any(dim=1).sum())]) == [1, 20]


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_file_that_is_no_image_is_named(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"picture\.png: not an image that can be read: ") as caught:
        image_files.read(path, INFO)
    assert len(str(caught.value).splitlines()) <= 5


def test_a_truncated_image_is_named(path: Path) -> None:
    _seven().save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"picture\.png: not an image that can be read: "):
        image_files.read(path, INFO)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png: does not exist"):
        image_files.read(tmp_path / "nothing.png", INFO)
    with pytest.raises(DataError, match="not an image that can be read"):
        image_files.read(tmp_path, INFO)
