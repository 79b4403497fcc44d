"""The page to draw on, in a browser. Screenshots are written to build/screenshots."""

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import PROJECT, Run, Script
from drawn_digits import KINDS, STROKES, ink, on
from PIL import Image
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from torch import nn
from waiting import wait_until

from mlplab.config import torch_signatures
from mlplab.config.datasets import Reading
from mlplab.data import datasets, image_files
from mlplab.data.image_dataset import DatasetInfo
from mlplab.draw import activations, page
from mlplab.model.export.plain_network import PlainNetwork, dense_layers
from mlplab.model.mlp import MLP
from mlplab.training import restore

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not chromium.IS_INSTALLED, reason="needs Debian's chromium and chromium-driver"),
]
SCREENSHOTS = PROJECT / "build" / "screenshots"
DRAWN_ON = PROJECT / "build" / "pictures" / "outputs" / "mnist" / "tutorial" / "draw.html"
PICTURE = {"width": 1040, "height": 832, "deviceScaleFactor": 1, "mobile": False}  # pixels
INFO = DatasetInfo((1, 28, 28), tuple("0123456789"), mean=0.13, std=0.31, object_size=20, centred_by_mass=True)
FASHION = replace(INFO, classes=("T-shirt/top", *"123456789"), object_size=28, centred_by_mass=False)

# Puts a file, given in base64, on the page as if it were dropped; returns when the page has read it.
DROP = """
const [text, name, done] = arguments, bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const transfer = new DataTransfer(), before = picture;
transfer.items.add(new File([bytes], name, { type: "image/png" }));
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
const wait = () => (picture !== before ? done() : setTimeout(wait, 5));
wait();
"""
# Draws through points, given as shares of the field.
STROKE = """
const box = field.getBoundingClientRect(), at = ([x, y]) => ({ clientX: box.left + x * box.width,
  clientY: box.top + y * box.height, isPrimary: true, button: 0, bubbles: true, pointerId: 1 });
const send = (type, point) => field.dispatchEvent(new PointerEvent(type, at(point)));
send("pointerdown", arguments[0][0]);
arguments[0].forEach(point => send("pointermove", point));
send("pointerup", arguments[0].at(-1));
"""
POINT_AT_THE_MIDDLE = """
const box = arguments[0].getBoundingClientRect();
const middle = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
arguments[0].dispatchEvent(new PointerEvent("pointermove", middle));
"""

TURNS = np.linspace(-0.8 * np.pi, 0.5 * np.pi, 20)
ARCS = [(0.48 + r * np.cos(turn), y + r * np.sin(turn)) for y, r in ((0.36, 0.17), (0.7, 0.19)) for turn in TURNS]
THREE = [*ARCS[:19], *ARCS[24:], (0.29, 0.8)]

Pixels = npt.NDArray[np.uint8]
Open = Callable[[str], Chrome]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def run(digits_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_run.folder, tmp_path / "run"))


@pytest.fixture
def shown(browser: Chrome, tmp_path: Path) -> Iterator[Open]:
    """Open the text of a page from a file; fails if anything was printed on the console."""

    def show(text: str) -> Chrome:
        (tmp_path / "draw.html").write_text(text, encoding="utf-8")
        browser.get((tmp_path / "draw.html").as_uri())
        return browser

    yield show
    assert browser.get_log("browser") == []


def network(hidden: Sequence[int] = (512, 512), **arguments: Any) -> MLP:
    """A network that is sure of its answers, though it has learned nothing."""
    torch.manual_seed(0)
    made = MLP(hidden, **arguments).eval()
    with torch.no_grad():
        made[-1].weight.mul_(40)  # type: ignore[operator, union-attr]
    return made


def plain(made: nn.Sequential, info: DatasetInfo = INFO) -> PlainNetwork:
    shape = info.image_shape[1:]
    return PlainNetwork(1 / (255 * info.std), -info.mean / info.std, dense_layers(made), shape, tuple(info.classes))


def text_of(made: nn.Sequential, info: DatasetInfo = INFO) -> str:
    return page.html("a network", info, plain(made, info), (page.NO_IMAGES, []))


def drop(browser: Chrome, pixels: Pixels, folder: Path, name: str = "a.png") -> Path:
    """Put a PNG file on the page, and return it."""
    Image.fromarray(pixels).save(folder / name)
    browser.execute_async_script(DROP, base64.b64encode((folder / name).read_bytes()).decode(), name)
    return folder / name


def answer(browser: Chrome) -> list[float]:
    return browser.execute_script("return Array.from(trace.values.at(-1))")


def seen(browser: Chrome) -> list[int]:
    return browser.execute_script("return Array.from(trace.values[0])")


def by_predict(path: Path, info: DatasetInfo) -> list[int]:
    return image_files.read(path, info)[0].flatten().tolist()


def draw_seven(browser: Chrome) -> None:
    """Draw with a real pointer."""
    field = browser.find_element(By.ID, "field")
    side = field.size["width"]
    stroke = ActionChains(browser, duration=20).move_to_element_with_offset(field, -side // 4, -side // 3)
    stroke.click_and_hold().move_by_offset(side // 2, 0).move_by_offset(-side // 4, side // 2).release().perform()


def test_images_of_the_test_set_get_the_probabilities_of_predict(
    script: Script, shown: Open, run: Path, tmp_path: Path
) -> None:
    written = script("draw.py", run, "--no-open")
    assert (written.code, written.err) == (0, "")
    browser = shown((run / "draw.html").read_text(encoding="utf-8"))
    images = datasets.load("digits", Path()).test_images[:100, 0].numpy()
    paths, found = [], []
    for place, image in enumerate(images):
        paths.append(drop(browser, image, tmp_path, f"{place}.png"))
        found.append(answer(browser))
    answers = json.loads(script("predict.py", run, *paths, "--json").out)
    expected = [list(one["probabilities"].values()) for one in answers]
    assert np.abs(np.array(found) - expected).max() < 1e-4
    by_index = script("predict.py", run, "--json", "--test", *range(100)).out
    assert [one["probabilities"] for one in json.loads(by_index)] == [one["probabilities"] for one in answers]


def test_a_test_image_is_started_from_as_it_is(script: Script, shown: Open, run: Path) -> None:
    script("draw.py", run, "--no-open")
    browser = shown((run / "draw.html").read_text(encoding="utf-8"))
    dataset = datasets.load("digits", Path())
    row = page.chosen(dataset.test_labels.tolist(), 10)[4]  # the third class's first
    browser.find_elements(By.CSS_SELECTOR, "#examples button")[4].click()
    wait_until(lambda: seen(browser) == dataset.test_images[row].flatten().tolist())
    classifier, datamodule = restore.load(run)
    expected = classifier.predict_step(datamodule.normalized(dataset.test_images[row : row + 1]))
    assert np.abs(np.array(answer(browser)) - expected[0].detach().numpy()).max() < 1e-4


@pytest.mark.parametrize("info", [INFO, FASHION], ids=["digits", "garments"])
def test_pictures_are_prepared_as_by_predict_to_the_pixel(shown: Open, info: DatasetInfo, tmp_path: Path) -> None:
    browser = shown(text_of(network([]), info))
    random = np.random.default_rng(1)
    clean = [on(0, ink(digit, random, (112, 112), random.uniform(2, 16)), 255, random, noise=0) for digit in STROKES]
    small = [picture for kind in KINDS for picture in [kind(3, random)] if picture.size < 250_000]
    block = np.zeros((112, 112), np.uint8)
    block[30:90, 60:64] = 255  # its centre is halfway between two pixels
    for picture in (*clean, *small, block):
        path = drop(browser, picture, tmp_path)
        assert seen(browser) == by_predict(path, info)


def test_a_stroke_changes_the_bars_and_can_be_undone(shown: Open, tmp_path: Path) -> None:
    browser = shown(text_of(network()))
    message = browser.find_element(By.ID, "message")
    assert message.text.startswith("Draw something")
    assert max(seen(browser)) == 0
    draw_seven(browser)
    first, bars = answer(browser), [bar.text for bar in browser.find_elements(By.CSS_SELECTOR, "#bars button")]
    assert bars == [f"{k}\n{100 * p:.1f} %" for k, p in enumerate(first)]
    assert max(seen(browser)) == 255
    browser.find_element(By.ID, "eraser").click()
    draw_seven(browser)
    assert message.text.startswith("Draw something")  # all is erased
    browser.find_element(By.ID, "undo").click()
    assert answer(browser) == first
    browser.find_element(By.ID, "clear").click()
    assert max(seen(browser)) == 0
    browser.find_element(By.ID, "undo").click()
    assert answer(browser) == first


def test_a_marked_drawing_is_saved_with_its_class_and_read_alike(shown: Open, tmp_path: Path) -> None:
    browser = shown(text_of(network(), FASHION))
    allowed = {"behavior": "allow", "downloadPath": str(tmp_path / "drawings")}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
    for name, mark in {
        "T-shirt-top_0001-wrong.png": lambda: Select(browser.find_element(By.ID, "wrong")).select_by_value("0"),
        "{}_0002-right.png": lambda: browser.find_element(By.ID, "right").click(),
    }.items():
        draw_seven(browser)
        pixels, best = seen(browser), int(np.argmax(answer(browser)))
        mark()
        path = tmp_path / "drawings" / name.format(FASHION.classes[best].replace("/", "-"))
        wait_until(path.exists)
        assert by_predict(path, FASHION) == pixels
        assert max(seen(browser)) == 0  # the field is clear
    assert browser.find_element(By.ID, "tally").text.startswith("1 of 2 right")


def test_drawings_of_classes_of_any_name_are_read_as_so_many_classes(shown: Open, tmp_path: Path) -> None:
    """The expected names of classes are those that data=folder finds."""
    names = {
        "C++": "C++", "C#": "C#", "a_b": "a_b", "<!--<script>": "-!---script-", "</script>": "--script-",
        "a/b": "a-b-5", "a-b": "a-b", "a?b": "a-b-7", ".100 %": "-100 %", "\u732b & \u00fc'$$": "\u732b & \u00fc'$$",
    }  # fmt: skip
    browser = shown(text_of(network(), replace(INFO, classes=tuple(names))))
    assert [bar.text for bar in browser.find_elements(By.CSS_SELECTOR, "#bars button")] == list(names)
    assert browser.execute_script("return classes") == list(names)
    folder = tmp_path / "drawings"
    allowed = {"behavior": "allow", "downloadPath": str(folder)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
    for number, name in enumerate([*names.values(), *names.values()]):
        draw_seven(browser)
        Select(browser.find_element(By.ID, "wrong")).select_by_value(str(number % len(names)))
        file = f"{name}_{number + 1:04}-wrong.png"
        assert browser.find_element(By.ID, "tally").text.endswith(f"Saved as {file}.")
        wait_until((folder / file).exists)
    found = datasets.load("folder", folder, Reading())
    assert sorted(found.info.classes) == sorted(names.values())
    assert found.train_labels.bincount().tolist() == found.test_labels.bincount().tolist() == [1] * len(names)


def test_what_speaks_for_a_class_is_input_times_gradient(shown: Open, tmp_path: Path) -> None:
    made = network([20, 15], activation="Tanh")
    browser = shown(text_of(made))
    draw_seven(browser)
    browser.find_elements(By.CSS_SELECTOR, "#bars button")[3].click()
    assert browser.find_element(By.ID, "legend").text == "Blue speaks for 3, orange against it."
    pixels = torch.tensor(seen(browser), dtype=torch.float32).view(1, 1, 28, 28).requires_grad_()
    made(pixels / (255 * INFO.std) - INFO.mean / INFO.std)[0, 3].backward()
    expected = (pixels * pixels.grad).detach().flatten()
    found = torch.tensor(browser.execute_script("return Array.from(contributions(trace, 3))"))
    assert torch.allclose(found, expected, atol=2e-3 * float(expected.abs().max()))
    over, field = (browser.find_element(By.ID, name).rect for name in ("overlay", "field"))
    assert 20 / 28 * over["width"] == pytest.approx(0.55 * field["width"], rel=0.15)  # the seven is half as high


def test_layers_show_units_and_their_weights(shown: Open) -> None:
    made = network([12, 8])
    browser = shown(text_of(made))
    draw_seven(browser)
    browser.find_element(By.CSS_SELECTOR, "#layers summary").click()
    maps = browser.find_elements(By.CSS_SELECTOR, "#layers .units")
    assert [(m.get_attribute("width"), m.get_attribute("height")) for m in maps] == [("5", "3"), ("4", "2"), ("5", "2")]
    browser.execute_script(POINT_AT_THE_MIDDLE, maps[0])  # row 1, column 2
    value = browser.execute_script("return trace.values[1][7]")
    assert browser.find_element(By.ID, "unit").text == f"Unit 8 of layer 1: value {value:.3f}, and its weights."
    assert browser.execute_script("return [element('weights').width, element('weights').height]") == [28, 28]


@pytest.mark.parametrize("hidden", [(512, 512), (128,), ()])
def test_the_file_is_small(hidden: tuple[int, ...]) -> None:
    made = network(hidden)
    weights = sum(parameter.numel() for parameter in made.parameters())
    images = datasets.load("digits", Path()).test_images[:20, 0].numpy().repeat(4, 1).repeat(4, 2)[:, 2:-2, 2:-2].copy()
    text = page.html("a network", INFO, plain(made), (images, [*range(10)] * 2))
    assert len(text.encode()) < 1.5 * 2 * weights + 60_000


def test_every_activation_of_the_project_is_computed(shown: Open) -> None:
    browser = shown(text_of(network([])))
    points = torch.linspace(-7, 7, 57)
    for name in sorted(torch_signatures.activations()):
        module = getattr(nn, name)().eval()
        formula = activations.expression(dense_layers(MLP([4], activation=name))[0].activation)
        found = browser.execute_script(f"return arguments[0].map(x => {formula})", points.tolist())
        assert torch.allclose(torch.tensor(found), module(points).detach(), atol=2e-6), name


def test_a_file_that_is_no_picture_is_named_as_such(shown: Open) -> None:
    browser = shown(text_of(network([])))
    browser.execute_script("read(new File(['a text'], 'a.png'), false)")
    wait_until(lambda: "cannot read this" in browser.find_element(By.ID, "message").text)
    browser.execute_async_script("read(new File(['a'], 'a.png'), false).then(arguments[0])")
    assert max(seen(browser)) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_phones_and_screens(script: Script, shown: Open, run: Path, width: int, scheme: str) -> None:
    script("draw.py", run, "--no-open")
    browser = shown((run / "draw.html").read_text(encoding="utf-8"))
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_script(STROKE, THREE)
    browser.execute_script("bars[3].click(); element('layers').open = true; update()")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(f"[{ground[4:-1]}]")) > 400) == (scheme == "light")
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / f"draw-{width}-{scheme}.png").write_bytes(base64.b64decode(picture))
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert width - 20 < image.width <= width  # without a scroll bar
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.skipif(not DRAWN_ON.is_file(), reason="make pictures trains the network of this page")
def test_the_picture_of_the_readme(shown: Open) -> None:
    """Take the screenshot that `make pictures` copies."""
    browser = shown(DRAWN_ON.read_text(encoding="utf-8"))
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PICTURE)
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    browser.execute_script(STROKE, THREE)
    browser.execute_script("bars[3].click()")
    wait_until(lambda: bool(browser.execute_script("return all('#examples img').every(image => image.complete)")))
    browser.save_screenshot(str(SCREENSHOTS / "draw.png"))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
