"""The page to draw on, in a browser. Screenshots are written to build/screenshots."""

import base64
import json
import time
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
from torch import nn

from mlplab.data import datasets, image_files
from mlplab.data.datasets import DatasetInfo
from mlplab.draw import layers, page
from mlplab.model.mlp import MLP
from mlplab.training import restore

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not chromium.IS_INSTALLED, reason="needs Debian's chromium and chromium-driver"),
]
SCREENSHOTS = PROJECT / "build" / "screenshots"
INFO = DatasetInfo((1, 28, 28), tuple("0123456789"), mean=0.13, std=0.31, object_size=20, centred_by_mass=True)
FASHION = replace(INFO, classes=("T-shirt/top", *"123456789"), object_size=28, centred_by_mass=False)
GIVEN_MS = 5  # from a stroke to the bars
STEP_NS = 1.5  # of the loop REFERENCE on a processor that is not busy

# Puts a file, given in base64, on the page as if it were dropped; returns when the page has read it.
DROP = """
const [text, name, done] = arguments, bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const transfer = new DataTransfer(), before = picture;
transfer.items.add(new File([bytes], name, { type: "image/png" }));
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
const wait = () => (picture !== before ? done() : setTimeout(wait, 5));
wait();
"""
REFERENCE = """
const values = new Float64Array(1e5), timed = () => {
  const start = performance.now();
  for (let r = 0; r < 20; r++) for (let i = 0; i < 1e5; i++) values[i] = values[i] * 0.5 + i;
  return (performance.now() - start) / 2;
};
return Math.min(...Array.from({ length: 30 }, timed));
"""
# Each point of a stroke as an event of its own, and the milliseconds until the bars are set.
STROKE_MS = """
const box = field.getBoundingClientRect(), at = (x, y) => ({ clientX: box.left + x * box.width,
  clientY: box.top + y * box.height, isPrimary: true, button: 0, bubbles: true, pointerId: 1 });
const send = (type, x, y) => field.dispatchEvent(new PointerEvent(type, at(x, y))), times = [];
for (let round = 0; round < 6; round++) {
  element("clear").click();
  send("pointerdown", 0.3, 0.2);
  for (let n = 1; n <= 30; n++) {
    const start = performance.now();
    send("pointermove", n < 15 ? 0.3 + 0.03 * n : 0.72 - 0.02 * (n - 14), n < 15 ? 0.2 : 0.2 + 0.04 * (n - 14));
    times.push(performance.now() - start);
  }
  send("pointerup", 0.4, 0.8);
}
return times.slice(30).sort((a, b) => a - b);
"""

Pixels = npt.NDArray[np.uint8]
Open = Callable[[str], Chrome]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def shown(browser: Chrome, tmp_path: Path) -> Iterator[Open]:
    """Open the text of a page from a file; at the end, nothing may be on the console."""

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


def text_of(made: nn.Sequential, info: DatasetInfo = INFO) -> str:
    folded = layers.folded(made, lambda pixels: pixels.float() / (255 * info.std) - info.mean / info.std)
    return page.html("a network", info, folded, (page.NO_IMAGES, []))


def drop(browser: Chrome, pixels: Pixels, folder: Path, name: str = "a.png") -> Path:
    """Put a PNG file on the page, and return it."""
    Image.fromarray(pixels).save(folder / name)
    browser.execute_async_script(DROP, base64.b64encode((folder / name).read_bytes()).decode(), name)
    return folder / name


def answer(browser: Chrome) -> list[float]:
    probabilities: list[float] = browser.execute_script("return Array.from(trace.values.at(-1))")
    return probabilities


def seen(browser: Chrome) -> list[int]:
    pixels: list[int] = browser.execute_script("return Array.from(trace.values[0])")
    return pixels


def by_predict(path: Path, info: DatasetInfo) -> list[int]:
    pixels: list[int] = image_files.read(path, info)[0].flatten().tolist()
    return pixels


def draw_seven(browser: Chrome) -> None:
    """Draw with a real pointer."""
    field = browser.find_element(By.ID, "field")
    side = field.size["width"]
    stroke = ActionChains(browser, duration=20).move_to_element_with_offset(field, -side // 4, -side // 3)
    stroke.click_and_hold().move_by_offset(side // 2, 0).move_by_offset(-side // 4, side // 2).release().perform()


def test_images_of_the_test_set_get_the_probabilities_of_predict(
    script: Script, shown: Open, digits_run: Run, tmp_path: Path
) -> None:
    written = script("draw.py", digits_run.folder, "--no-open")
    assert (written.code, written.err) == (0, "")
    browser = shown((digits_run.folder / "draw.html").read_text(encoding="utf-8"))
    images = datasets.load("digits", Path()).test_images[:100, 0].numpy()
    paths, found = [], []
    for place, image in enumerate(images):
        paths.append(drop(browser, image, tmp_path, f"{place}.png"))
        found.append(answer(browser))
    answers = json.loads(script("predict.py", digits_run.folder, *paths, "--json").out)
    expected = [list(one["probabilities"].values()) for one in answers]
    assert np.abs(np.array(found) - expected).max() < 1e-4
    by_index = script("predict.py", digits_run.folder, "--json", "--test", *range(100)).out
    assert [one["probabilities"] for one in json.loads(by_index)] == [one["probabilities"] for one in answers]


def test_a_test_image_is_started_from_as_it_is(script: Script, shown: Open, digits_run: Run) -> None:
    script("draw.py", digits_run.folder, "--no-open")
    browser = shown((digits_run.folder / "draw.html").read_text(encoding="utf-8"))
    dataset = datasets.load("digits", Path())
    row = page.chosen(dataset.test_labels.tolist(), 10)[4]  # the third class's first
    browser.find_elements(By.CSS_SELECTOR, "#examples button")[4].click()
    wait_for(lambda: seen(browser) == dataset.test_images[row].flatten().tolist())
    classifier, datamodule = restore.load(digits_run.folder)
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
        assert seen_or_nothing(browser, picture, tmp_path) == by_predict(tmp_path / "a.png", info)


def seen_or_nothing(browser: Chrome, picture: Pixels, folder: Path) -> list[int]:
    drop(browser, picture, folder)
    return seen(browser)


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


def wait_for(is_there: Callable[[], bool]) -> None:
    until = time.monotonic() + chromium.PATIENCE_S
    while not is_there():
        assert time.monotonic() < until
        time.sleep(0.05)
