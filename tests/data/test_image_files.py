import io
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mlplab.data import framing, image_files
from mlplab.data.framing import Background
from mlplab.data.image_dataset import DatasetInfo
from mlplab.errors import DataError

INFO = DatasetInfo(
    image_shape=(1, 28, 28), classes=tuple("0123456789"), mean=0.13, std=0.31, object_size=20, centred_by_mass=True
)


def _seven(size: tuple[int, int] = (400, 300), ground: str = "white", ink: str = "black") -> Image.Image:
    """Draw a big digit, off centre."""
    image = Image.new("RGB", size, ground)
    lines = [(40, 60), (130, 60), (80, 220)]
    ImageDraw.Draw(image).line(lines, fill=ink, width=18)
    return image


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "picture.png"


def _read(image: Image.Image, path: Path, background: Background = "auto") -> Tensor:
    image.save(path)
    return _only(path, background)


def _only(path: Path, background: Background = "auto", info: DatasetInfo = INFO) -> Tensor:
    """Return the only thing in a picture (C, H, W)."""
    (image,), things = image_files.read(path, info, background)
    assert things == 1
    return image


def _is_framed(found: Tensor) -> bool:
    """Tell whether an image fits a box of 20 x 20, with its centre of mass at pixel 14, as in MNIST."""
    pixels = found[0].double()
    rows, columns = pixels.any(dim=1).nonzero(), pixels.any(dim=0).nonzero()
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    places = torch.arange(28, dtype=torch.float64)
    centre_y = (pixels.sum(dim=1) * places).sum() / pixels.sum()
    centre_x = (pixels.sum(dim=0) * places).sum() / pixels.sum()
    in_the_middle = abs(centre_y - 14) <= 0.51 and abs(centre_x - 14) <= 0.51
    return max(height, width) == 20 and bool(in_the_middle)


def _white_on_transparent() -> Image.Image:
    drawing = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    drawing.paste((255, 255, 255, 255), (27, 10, 33, 50))
    return drawing


SEVENS: dict[str, tuple[Image.Image, str]] = {
    **{f"{w}x{h}": (_seven().crop((0, 0, w, h)), "png") for w, h in ((200, 260), (260, 200), (1000, 700), (131, 231))},
    **{ink: (_seven(ink=ink), "png") for ink in ("black", "red", "blue", "#004400")},
    **{kind: (_seven(), kind) for kind in ("jpg", "gif", "bmp", "webp")},
    "a scan": (_seven(ground="#d8d8d8", ink="#303030"), "png"),
    "red on green of one grey": (_seven(ground="#008000", ink="#ff0000"), "png"),
    "white on transparent": (_white_on_transparent(), "png"),
}


@pytest.mark.parametrize("kind", SEVENS)
def test_a_digit_lands_where_mnist_has_it(kind: str, tmp_path: Path) -> None:
    image, ending = SEVENS[kind]
    found = _read(image, tmp_path / f"picture.{ending}")
    assert (found.shape, found.dtype) == ((1, 28, 28), torch.uint8)
    assert _is_framed(found)
    assert found.max() > 200
    assert found[0, 0].max() == 0


def test_an_empty_first_frame_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "drawn.gif"
    Image.new("L", (400, 300), 255).save(path, save_all=True, append_images=[_seven().convert("L")])
    assert _is_framed(_only(path))


def test_what_was_said_of_the_ground_is_believed(path: Path) -> None:
    """A ring can be read as a bright disc with a dark hole, or as dark around a bright hole."""
    ring = Image.new("L", (200, 200), 60)
    ImageDraw.Draw(ring).ellipse((60, 60, 140, 140), outline=200, width=20)
    as_dark, as_light = _read(ring, path, "dark")[0], _read(ring, path, "light")[0]
    assert as_dark[14, 14] == 0
    assert as_light[14, 14] > 200
    assert torch.equal(_read(ring, path)[0], as_dark)


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0), (30, 255)])
def test_a_transparent_drawing_is_visible_as_it_is(channels: int, mode: str, ink: int, ground: int, path: Path) -> None:
    """The ground has the colour of the drawing under full transparency."""
    expected = torch.full((channels, 40, 30), ground)
    expected[:, 5:35, 12:16] = ink
    alpha = Image.new("L", (30, 40), 0)
    alpha.paste(255, (12, 5, 16, 35))
    if mode == "P":
        drawing = alpha.point(lambda opaque: opaque // 255).copy()
        drawing.putpalette([ink] * 6)
        drawing.save(path, transparency=0)
    else:
        drawing = Image.new(mode, (30, 40), (ink,) * (len(mode) - 1) + (0,))
        drawing.putalpha(alpha)
        drawing.save(path)
    assert torch.equal(torch.from_numpy(image_files.as_is(path, (channels, 40, 30))).int(), expected.int())


def test_an_opaque_picture_with_an_alpha_channel_is_the_picture(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 7), np.uint8)
    opaque = Image.fromarray(pixels.transpose(1, 2, 0))
    found = []
    for image in (opaque, opaque.convert("RGBA")):
        image.save(path)
        assert np.array_equal(image_files.as_is(path, (3, 9, 7)), pixels)
        found.append(image_files.as_is(path, (1, 9, 7)))
    assert np.array_equal(*found)


def test_16_bits(path: Path) -> None:
    eight = np.asarray(_seven().convert("L"))
    deep = Image.fromarray(eight.astype(np.uint16) * 257)
    assert deep.mode.startswith("I")
    expected = _read(Image.fromarray(eight), path)
    assert torch.equal(_read(deep, path), expected)


def test_a_photograph_is_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter to the right
    _seven().rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    found = _only(tmp_path / "turned.jpg")
    _seven().save(tmp_path / "upright.jpg", quality=95)
    expected = _only(tmp_path / "upright.jpg")
    assert (found.int() - expected.int()).abs().float().mean() < 2


def _framed_seven() -> torch.Tensor:
    """Return an image (28, 28) as in MNIST, with a background pixel that any preparation would remove."""
    (thing,) = framing.things(np.asarray(_seven().convert("L")), INFO)
    image = torch.from_numpy(thing.image)
    image[0, 0] = 1
    return image


def test_an_image_that_is_framed_is_left_as_it_is(path: Path) -> None:
    pixels = _framed_seven()
    assert torch.equal(_read(Image.fromarray(pixels.numpy()), path)[0], pixels)
    assert torch.equal(_read(Image.fromarray(255 - pixels.numpy()), path)[0], pixels)


@pytest.mark.parametrize("change", ["moved", "on grey", "larger", "a frame"])
def test_an_image_of_the_right_size_that_is_not_framed_is_framed(path: Path, change: str) -> None:
    pixels = _framed_seven().numpy()
    pixels[0, 0] = 0
    if change == "moved":
        pixels = np.roll(pixels, (3, -3), (0, 1))
    elif change == "on grey":
        pixels = 100 + pixels // 2
    elif change == "larger":
        pixels = np.asarray(Image.fromarray(pixels[3:25, 3:25]).resize((28, 28)))
    else:
        pixels = pixels.copy()
        pixels[-1] = pixels[:, -1] = 255
    found = _read(Image.fromarray(pixels), path)
    assert not np.array_equal(found[0], pixels)
    assert _is_framed(found)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (50, 50)])
def test_an_empty_picture_is_refused(path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="nothing stands out"):
        _read(Image.new("L", size, 255), path)


def test_floats_of_any_range(path: Path) -> None:
    drawing = np.zeros((40, 40), dtype=np.float32)
    drawing[10:30, 18:22] = 0.7
    tiff = path.with_suffix(".tif")
    Image.fromarray(drawing).save(tiff)
    found = _only(tiff)
    assert found.max() == 255
    assert _is_framed(found)


def test_by_outline(path: Path) -> None:
    """Centred as in Fashion-MNIST, by the outline and not by the centre of mass."""
    drawing = Image.new("L", (300, 100), 255)
    drawing.paste(0, (50, 20, 90, 60))
    drawing.paste(0, (90, 38, 250, 42))
    drawing.save(path)
    found = _only(path, info=replace(INFO, object_size=28, centred_by_mass=False))[0]
    rows, columns = found.any(dim=1).nonzero(), found.any(dim=0).nonzero()
    assert (int(columns[0]), int(columns[-1])) == (0, 27)
    assert abs((int(rows[0]) + int(rows[-1])) / 2 - 13.5) <= 0.5


@pytest.mark.parametrize("size", [(3, 300), (300, 3)])
def test_a_line_stays_a_line(path: Path, size: tuple[int, int]) -> None:
    image = Image.new("L", (400, 400), 255)
    image.paste(0, (50, 50, 50 + size[0], 50 + size[1]))
    found = _read(image, path)[0] > 0
    thickness, length = sorted([int(found.any(dim=0).sum()), int(found.any(dim=1).sum())])
    assert length == 20
    assert 2 <= thickness <= 4  # as a pen's


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png: does not exist"):
        image_files.read(tmp_path / "nothing.png", INFO)
    with pytest.raises(DataError, match=rf"a folder\. Give {tmp_path}/\*\.png"):
        image_files.read(tmp_path, INFO)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a HEIC file, convert it to JPEG"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1", "an AVIF file, convert it to JPEG"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00", "a video, save a frame of it as PNG"),
        (b"label,pixel0\n7,0,0,0\n", "a CSV table, save each row as PNG"),
        (b"bplist00\xd4\x01\x02", "an Apple property list, not the picture itself"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE plist>\n<plist>', "an Apple property list, not the picture itself"),
        (b"\x00\x05\x16\x07\x00\x02", "a macOS metadata file, not the picture itself"),
        (b"%PDF-1.7\n", "a PDF, save its page as PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing, save it as PNG"),
        (b"<!DOCTYPE html>\n<html>", "a web page, save the picture itself"),
        (b"no image at all", "a text"),
        (b"", "an empty file"),
        (b"\x07\x00\x01\x02", "unknown format"),
    ],
)
def test_what_is_taken_for_an_image_is_called_by_its_name(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        image_files.read(path, INFO)
    assert str(caught.value) == f"{path}: not an image that can be read: {says}. Give a PNG, JPEG, GIF, BMP, ..."


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("one\n two\n three\n four"), AttributeError("size"), ZeroDivisionError(), KeyError(1)],
)
def test_whatever_pillow_raises_is_a_refusal(path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    _seven().save(path)
    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(DataError, match=r"picture\.png: not an image that can be read: \w+") as caught:
        image_files.read(path, INFO)
    assert len(str(caught.value).splitlines()) == 1


def test_damaged_images_are_read_or_refused(path: Path) -> None:
    """Tested with a hundred mutations of each format: changed bytes, and truncation."""
    random = np.random.default_rng(3)
    for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm", "jpeg2000", "spider", "tga", "pcx", "sgi"):
        whole = io.BytesIO()
        _seven((64, 48)).convert("F" if kind == "spider" else "RGB").save(whole, kind)
        for _ in range(25):
            content = bytearray(whole.getvalue())
            for place in random.integers(0, min(len(content), 200), 3):
                content[place] = random.integers(256)
            path.write_bytes(content[: random.integers(len(content) // 2, len(content) + 1)])
            with suppress(DataError):
                image_files.read(path, INFO)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(DataError, match=f"{path}: not a regular file"):
            image_files.read(path, INFO)


def test_a_file_that_may_not_be_read_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    _seven().save(path)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"picture\.png: cannot be read: Permission denied"):
        image_files.read(path, INFO)


def test_limits_are_named(path: Path) -> None:
    _seven().save(path)
    os.truncate(path, 300_000_000)  # a hole: it takes no room
    with pytest.raises(DataError, match="has 300,000,000 bytes, more than the limit of 200,000,000"):
        image_files.read(path, INFO)
    header = b"IHDR" + struct.pack(">IIBBBBB", 12_000, 10_000, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT", b"IEND")
    made = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(made))
    with pytest.raises(DataError, match="has 12,000 x 10,000 pixels, more than the limit of 100,000,000"):
        image_files.read(path, INFO)


def test_a_hot_pixel_does_not_set_the_scale(path: Path) -> None:
    deep = 3000 - 8 * np.asarray(_seven().convert("L")).astype(np.uint16)
    expected = _read(Image.fromarray(deep), path)
    deep[5, 5] = 65535
    assert (_read(Image.fromarray(deep), path).int() - expected.int()).abs().max() <= 3


@pytest.mark.parametrize("ground", ["white", "#606060"])
def test_a_transparent_strip_takes_the_ground_of_the_rest(path: Path, ground: str) -> None:
    whole = _seven(ground=ground).convert("RGBA")
    expected = _read(whole, path)
    whole.paste((0, 0, 0, 0), (380, 0, 400, 300))
    whole.paste((0, 0, 0, 0), (0, 288, 400, 300))
    assert (_read(whole, path).int() - expected.int()).abs().max() <= 1


def test_separate_things_are_counted_and_read_from_left_to_right(path: Path) -> None:
    both = Image.new("L", (700, 400), 240)
    both.paste(_seven().convert("L").resize((300, 225)), (380, 80))
    ring = ImageDraw.Draw(both)
    ring.ellipse((60, 70, 220, 330), outline=0, width=20)
    both.save(path)
    images, things = image_files.read(path, INFO, several=True)
    assert (images.shape, things) == ((2, 1, 28, 28), 2)
    assert images[0, 0, 14, 14] == 0  # a ring
    assert images[0, 0, 14].count_nonzero() >= 4
    (largest,), things = image_files.read(path, INFO)
    assert things == 2
    assert torch.equal(largest, images[0])
