"""TensorBoard's pages in a browser, of a run and of a sweep. Screenshots go to build/screenshots."""

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from chromium import TEXT, tensorboard
from conftest import PROJECT, Compose, Program
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


def test_a_run(browser: Chrome, composed: Compose, tiny_root: Path, tmp_path: Path) -> None:
    config = composed(
        f"data.root={tiny_root}", "data=fashion", "data.val_size=50", "data.batch_size=20", "model.hidden=[16,12]",
        "trainer.max_epochs=2", "trainer.log_every_n_steps=2", "trainer.accelerator=cpu",
    )  # fmt: skip
    train(config, tmp_path / "fashion" / "hidden=16x12")
    tags = ("train/loss_step", "by_epoch/val/acc", "gap/acc", "lr_step")
    groups = {"by_epoch", "confusion", "data", "gap", "images_per_s", "mistakes", "weights"}
    with tensorboard(tmp_path, browser, SCREENSHOTS / "run") as board:
        for tag in tags:
            board.open("timeseries", {tag}, tag)
        board.open("timeseries", {"fashion/hidden=16x12", *groups})
        board.open("images", {"confusion/val", "confusion/test", "data", "mistakes", "weights"})
        board.wait_for_images(3)
        board.screenshot("images")
        board.open("hparams", {"hidden", "16x12", "optimizer", "batch_size", "fashion", "val/acc_best", "test/acc"})
        board.open("graphs", {"Main Graph", "MLP", "images", "output"})
        board.open("custom_scalars", {"by step", "by epoch", "accuracy", "gap of training to validation"})
        board.open("text", {"configuration", "layers", "linear1", "12,894"})
        board.open("pr_curves", {"pr/Ankle boot", "pr/T-shirt top"})


def test_a_sweep_of_six(browser: Chrome, program: Program, tiny_root: Path, tmp_path: Path) -> None:
    grid = ("model.hidden=8,16", "optimizer=adam,rmsprop,sgd")
    short = ("data.val_size=50", "data.batch_size=20", "trainer.max_epochs=2", "trainer.accelerator=cpu")
    finished = program.run("-m", *grid, *short, f"data.root={tiny_root}", "sweep_name=six")
    assert finished.code == 0, finished.err
    runs = {f"hidden={width},optimizer={name}" for width in (8, 16) for name in ("adam", "rmsprop", "sgd")}
    with tensorboard(tmp_path / "outputs" / "sweeps" / "six", browser, SCREENSHOTS / "sweep") as board:
        board.open("timeseries", runs | {"by_epoch", "confusion", "mistakes", "weights"})
        board.open("images", runs | {"confusion/val", "confusion/test", "mistakes"})
        board.open("hparams", {"Trial ID", "optimizer", "hidden", "seed", "val/acc_best", "test/acc"})
        board.click("optimizer")  # constant ones come first, and five are shown
        board.wait_for({"RMSprop", "SGD", "Adam"})
        board.screenshot("hparams")
        text: str = browser.execute_script(TEXT)
        assert "hp_metric" not in text
        assert "NaN" not in text
        board.click("Parallel Coordinates View")
        board.wait_for_elements(".foreground path:not(.invisible-path)", len(runs))
        board.screenshot("parallel", settle_s=2)
        board.click("Scatter Plot Matrix View")
        board.wait_for_elements("circle.data-marker", 2 * len(runs))  # of two metrics against a hyperparameter, or more
        board.screenshot("scatter", settle_s=2)
        board.open("graphs", {"Main Graph", "MLP"})


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
