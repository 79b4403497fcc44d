"""Pages in a headless browser: Debian's chromium and chromium-driver, controlled through Selenium."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
IS_INSTALLED = CHROMIUM is not None and DRIVER is not None
PATIENCE_S = 600

# TensorBoard's parts are in shadow trees, which the text of the page and its selectors leave out.
ALL = """
const all = [];
const walk = node => {
    all.push(node);
    if (node.shadowRoot) walk(node.shadowRoot);
    node.childNodes.forEach(walk);
};
walk(document.body);
const elements = all.filter(node => node.nodeType === Node.ELEMENT_NODE);
"""
TEXT = f"""{ALL}
const words = all.filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.textContent.trim());
return words.filter(word => word).join(' ').replaceAll(' /', '/');
"""
# The first element that says so.
CLICK = f"""{ALL}
const says = node => node.textContent.trim().toLowerCase() === arguments[0].toLowerCase();
const found = elements.find(node => node.children.length === 0 && says(node));
if (found) found.click();
return Boolean(found);
"""
# How many that can be seen match a selector, and are pictures that have been loaded if they are pictures.
VISIBLE = f"""{ALL}
const isDrawn = node => node.tagName !== 'IMG' || (node.complete && node.naturalWidth > 300);
return elements.filter(node => node.matches(arguments[0]) && node.getClientRects().length && isDrawn(node)).length;
"""


@contextmanager
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Start Chromium, with an empty profile folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1640,1150"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})  # what pages print on the console
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(PATIENCE_S)
    try:
        yield driver
    finally:
        driver.quit()


class Board:
    """TensorBoard's pages; the names of screenshots begin with `screenshots`."""

    def __init__(self, browser: webdriver.Chrome, address: str, screenshots: Path) -> None:
        self.browser = browser
        self.address = address
        self.screenshots = screenshots

    def visit(self, tab: str, expected: set[str], tags: str = "") -> None:
        """Open a tab, and wait until everything expected is there; Time Series shows only these tags."""
        self.browser.get("about:blank")  # or else the page of another tab would remain
        self.browser.get(f"{self.address}/?tagFilter={tags}#{tab}")
        self.wait_for(expected)

    def open(self, tab: str, expected: set[str], tags: str = "") -> None:
        """`visit`, and take a screenshot."""
        self.visit(tab, expected, tags)
        self.screenshot(tab)

    def click(self, words: str) -> None:
        _wait(lambda: bool(self.browser.execute_script(CLICK, words)), lambda: f"nothing that says {words!r}")

    def wait_for(self, expected: set[str]) -> None:
        def missing() -> set[str]:
            text: str = self.browser.execute_script(TEXT)
            return {words for words in expected if words not in text}

        _wait(lambda: not missing(), lambda: f"not on the page: {missing()}")

    def wait_for_elements(self, selector: str, count: int) -> None:
        def visible() -> int:
            return int(self.browser.execute_script(VISIBLE, selector))

        _wait(lambda: visible() >= count, lambda: f"{visible()} of {selector} instead of {count}")

    def screenshot(self, page: str, settle_s: float = 0) -> None:
        """Take a screenshot, after a pause for animations."""
        time.sleep(settle_s)
        self.screenshots.parent.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(f"{self.screenshots}-{page}.png")


def _wait(is_there: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_there():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.3)


@contextmanager
def tensorboard(folder: Path, browser: webdriver.Chrome, screenshots: Path) -> Iterator[Board]:
    """Start TensorBoard on the runs below `folder`."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder.name, "--port", str(port)]  # which it shows
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder.parent, stdout=quiet, stderr=quiet) as process:
        try:
            _wait(lambda: _answers(port), lambda: "TensorBoard does not answer")
            yield Board(browser, f"http://localhost:{port}", screenshots)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0
