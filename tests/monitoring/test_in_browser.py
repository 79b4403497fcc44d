"""TensorBoard's pages of runs in a browser. Screenshots are written to build/screenshots."""

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from chromium import TEXT, tensorboard
from conftest import PROJECT, Compose
from selenium.webdriver import Chrome

from mlplab.training.run import train

SCREENSHOTS = PROJECT / "build" / "screenshots"
TRAINED = PROJECT / "build" / "pictures" / "outputs"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not chromium.IS_INSTALLED, reason="needs Debian's chromium and chromium-driver"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


def test_runs_and_what_tells_them_apart(browser: Chrome, composed: Compose, tiny_root: Path, tmp_path: Path) -> None:
    """Runs of a sweep are distinguished by their hyperparameters."""
    short = (
        "data=fashion",
        "data.val_size=50",
        "data.batch_size=20",
        "trainer.max_epochs=2",
        "trainer.accelerator=cpu",
    )
    runs = {f"hidden={hidden},optimizer={name}" for hidden, name in (("16x12", "adam"), ("8", "sgd"), ("8", "rmsprop"))}
    for name in runs:
        overrides = name.replace("16x12", "[16,12]").replace("hidden", "model.hidden").replace(",opt", " opt").split()
        train(composed(f"data.root={tiny_root}", *short, "trainer.log_every_n_steps=2", *overrides), tmp_path / name)
    tags = ("train/loss_step", "by_epoch/val/acc", "gap/acc", "lr_step")
    groups = {"by_epoch", "confusion", "data", "gap", "images_per_s", "mistakes", "weights"}
    with tensorboard(tmp_path, browser, SCREENSHOTS / "runs") as board:
        for tag in tags:
            board.open("timeseries", {tag}, tag)
        board.open("timeseries", runs | groups)
        board.open("images", runs | {"confusion/val", "confusion/test", "data", "mistakes", "weights"})
        board.wait_for_elements("img", 3)
        board.screenshot("images")
        chosen = {"Trial ID", "optimizer", "hidden", "batch_size", "fashion", "seed"}
        board.open("hparams", chosen | {"16x12", "val/acc_best", "test/acc"})
        board.click("optimizer")  # constant ones come first, and five are shown
        board.wait_for({"RMSprop", "SGD", "Adam"})
        board.screenshot("hparams")
        text: str = browser.execute_script(TEXT)
        assert "hp_metric" not in text
        assert "NaN" not in text
        board.click("Parallel Coordinates View")
        board.wait_for_elements(".foreground path:not(.invisible-path)", len(runs))
        board.screenshot("parallel")
        board.click("Scatter Plot Matrix View")
        board.wait_for_elements("circle.data-marker", 2 * len(runs))  # of two metrics against a hyperparameter, or more
        board.screenshot("scatter")
        board.open("graphs", {"Main Graph", "MLP", "images", "output"})
        board.open("custom_scalars", {"by step", "by epoch", "accuracy", "gap of training to validation"})
        board.open("text", {"configuration", "layers", "linear1", "12,894"})
        board.open("pr_curves", {"pr/Ankle boot", "pr/T-shirt top"})


@pytest.mark.skipif(not (TRAINED / "sweeps" / "pictures").is_dir(), reason="make pictures trains what these show")
def test_the_pictures_of_the_readme(browser: Chrome) -> None:
    """Take the screenshots that `make pictures` copies."""
    with tensorboard(TRAINED / "mnist", browser, SCREENSHOTS / "tensorboard") as board:
        board.visit("custom_scalars&_smoothingWeight=0", {"by step", "loss", "accuracy", "learning rate"})
        board.screenshot("custom_scalars", settle_s=5)
        board.visit("images", {"confusion/val", "confusion/test"})
        board.click("Show actual image size")
        board.screenshot("images", settle_s=5)
    with tensorboard(TRAINED / "sweeps" / "pictures", browser, SCREENSHOTS / "tensorboard") as board:
        board.visit("hparams", {"Trial ID", "optimizer", "lr", "test/acc"})
        for constant in ("activation", "batch_size", "data", "dropout"):  # hide these
            board.click(constant)
        for varied in ("lr", "optimizer"):  # show these
            board.click(varied)
        board.click("Parallel Coordinates View")
        board.screenshot("hparams", settle_s=5)
