"""TensorBoard in a browser: is on its pages what a run and a sweep have written? Screenshots stay in build/."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import PROJECT, Compose, Program
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from mlplab.training import train

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SCREENSHOTS = PROJECT / "build" / "screenshots"
PATIENCE_S = 60

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"),
    pytest.mark.xdist_group("browser"),
]

# TensorBoard's parts are in shadow trees, which the text of the page leaves out.
TEXT = """
const words = [];
const walk = node => {
    if (node.nodeType === Node.TEXT_NODE) words.push(node.textContent.trim());
    if (node.shadowRoot) walk(node.shadowRoot);
    node.childNodes.forEach(walk);
};
walk(document.body);
return words.filter(word => word).join(' ').replaceAll(' /', '/');
"""
# The first element in any of them that says so.
CLICK = """
const find = node => {
    const isLeaf = node.nodeType === Node.ELEMENT_NODE && node.children.length === 0;
    if (isLeaf && node.textContent.trim().toLowerCase() === arguments[0].toLowerCase()) return node;
    for (const child of [...(node.shadowRoot ? [node.shadowRoot] : []), ...node.childNodes]) {
        const found = find(child);
        if (found) return found;
    }
};
const found = find(document.body);
if (found) found.click();
return Boolean(found);
"""
LOADED_IMAGES = """
let loaded = 0;
const walk = node => {
    if (node.tagName === 'IMG' && node.complete && node.naturalWidth > 300) loaded += 1;
    if (node.shadowRoot) walk(node.shadowRoot);
    node.childNodes.forEach(walk);
};
walk(document.body);
return loaded;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1500,1100"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


class Board:
    """TensorBoard's pages in a browser."""

    def __init__(self, browser: webdriver.Chrome, address: str, name: str) -> None:
        self.browser = browser
        self.address = address
        self.name = name

    def open(self, tab: str, expected: set[str], tags: str = "") -> None:
        """Wait until everything expected is there, and take a picture; of Time Series with these tags alone."""
        self.browser.get("about:blank")  # or else the page of another tab would remain
        self.browser.get(f"{self.address}/?tagFilter={tags}#{tab}")
        self.wait_for(expected)
        self.screenshot(tab)

    def click(self, words: str) -> None:
        _wait(lambda: bool(self.browser.execute_script(CLICK, words)), lambda: f"nothing that says {words!r}")

    def wait_for(self, expected: set[str]) -> None:
        def missing() -> set[str]:
            text: str = self.browser.execute_script(TEXT)
            return {words for words in expected if words not in text}

        _wait(lambda: not missing(), lambda: f"not on the page: {missing()}")

    def wait_for_images(self, count: int) -> None:
        def loaded() -> int:
            return int(self.browser.execute_script(LOADED_IMAGES))

        _wait(lambda: loaded() >= count, lambda: f"{loaded()} pictures instead of {count}")

    def screenshot(self, page: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(str(SCREENSHOTS / f"{self.name}-{page}.png"))


def _wait(is_there: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_there():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.3)


@contextmanager
def tensorboard(folder: Path, browser: webdriver.Chrome, name: str) -> Iterator[Board]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(lambda: _answers(port), lambda: "TensorBoard does not answer")
            yield Board(browser, f"http://localhost:{port}", name)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


def test_a_run(browser: webdriver.Chrome, composed: Compose, tiny_root: Path, tmp_path: Path) -> None:
    config = composed(
        f"data.root={tiny_root}", "data=fashion", "data.val_size=50", "data.batch_size=20", "model.hidden=[16,12]",
        "trainer.max_epochs=2", "trainer.log_every_n_steps=2", "trainer.accelerator=cpu",
    )  # fmt: skip
    train(config, tmp_path / "fashion" / "hidden=16x12")
    tags = ("train/loss_step", "by_epoch/val/acc", "gap/acc", "lr_step")
    groups = {"by_epoch", "confusion", "data", "gap", "images_per_s", "mistakes", "weights"}
    with tensorboard(tmp_path, browser, "run") as board:
        for tag in tags:
            board.open("timeseries", {tag}, tag)
        board.open("timeseries", {"fashion/hidden=16x12", *groups})
        board.open("images", {"confusion/val", "confusion/test", "data", "mistakes", "weights"})
        board.wait_for_images(3)
        board.screenshot("images")
        board.open("hparams", {"hidden", "16x12", "optimizer", "batch_size", "fashion", "val/acc_best", "test/acc"})
        board.open("graphs", {"Main Graph", "MLP", "input", "output"})
        board.open("custom_scalars", {"by step", "by epoch", "accuracy", "gap of training to validation"})
        board.open("text", {"configuration", "layers", "linear1", "12,894"})
        board.open("pr_curves", {"pr/Ankle boot", "pr/T-shirt top"})


def test_a_sweep_of_six(browser: webdriver.Chrome, program: Program, tiny_root: Path, tmp_path: Path) -> None:
    grid = ("model.hidden=8,16", "optimizer=adam,rmsprop,sgd")
    short = ("data.val_size=50", "data.batch_size=20", "trainer.max_epochs=2", "trainer.accelerator=cpu")
    finished = program.run("-m", *grid, *short, f"data.root={tiny_root}", "sweep_name=six")
    assert finished.code == 0, finished.err
    runs = {f"hidden={width},optimizer={name}" for width in (8, 16) for name in ("adam", "rmsprop", "sgd")}
    with tensorboard(tmp_path / "outputs" / "sweeps" / "six", browser, "sweep") as board:
        board.open("timeseries", runs | {"by_epoch", "confusion", "mistakes", "weights"})
        board.open("images", runs | {"confusion/val", "confusion/test", "mistakes"})
        board.open("hparams", {"Trial ID", "optimizer", "hidden", "seed", "val/acc_best", "test/acc"})
        board.click("optimizer")  # constant ones come first, and five are shown
        board.wait_for({"RMSprop", "SGD", "Adam"})
        board.screenshot("hparams")
        text: str = browser.execute_script(TEXT)
        assert "hp_metric" not in text
        assert "NaN" not in text
        for view in ("Parallel Coordinates View", "Scatter Plot Matrix View"):
            board.click(view)
            board.wait_for({"test/acc", "val/acc_best"})
            time.sleep(2)  # it moves
            board.screenshot(view.split()[0].lower())
        board.open("graphs", {"Main Graph", "MLP"})
