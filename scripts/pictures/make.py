"""Make the README's pictures again, from scratch: `make pictures` (4 minutes on two cores; needs Debian's chromium).

Trains what they show in build/pictures, and prints each command with what it says, as the README quotes it.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import chromium

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
SCRATCH = PROJECT / "build" / "pictures"
RUN, SWEEP = Path("outputs/mnist/tutorial"), Path("outputs/sweeps/pictures")

COMMANDS = (
    "scripts/show.py data.normalize=unit",
    f"train.py experiment=mnist_512x2_rmsprop hydra.run.dir={RUN}",
    f"scripts/evaluate.py {RUN}",
    f"scripts/predict.py {RUN} --test 0 8 --picture",
    "scripts/show.py data=fashion",
    "train.py -m model.hidden=32,128,512 optimizer=adam,rmsprop,sgd optimizer.lr=0.001,0.01 trainer.max_epochs=2"
    f" sweep_name={SWEEP.name}",
)
DRAWN = {
    "examples.png": "outputs/data/mnist/examples.png",
    "pixels.png": "outputs/data/mnist/pixels.png",
    "fashion.png": "outputs/data/fashion/examples.png",
    "curves.png": f"{RUN}/curves.png",
    "confusion.png": f"{RUN}/confusion.png",
    "mistakes.png": f"{RUN}/mistakes.png",
    "predictions.png": f"{RUN}/predictions.png",
}


def main() -> None:
    if not chromium.IS_INSTALLED:
        sys.exit("chromium and chromedriver are needed; on Debian: apt-get install chromium chromium-driver")
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    for command in COMMANDS:
        say(command)
    for name, drawn in DRAWN.items():
        shutil.copy(SCRATCH / drawn, HERE / name)
    look()
    print(f"\n{len(list(HERE.glob('*.png')))} pictures in {HERE.relative_to(PROJECT)}")


def say(command: str) -> None:
    """Run it as a user would, and print both."""
    print(f"\n$ python {command}", flush=True)
    script, *arguments = shlex.split(command)
    environment = {**os.environ, "COLUMNS": "120"}
    subprocess.run([sys.executable, PROJECT / script, *arguments], cwd=SCRATCH, env=environment, check=True)


def look() -> None:
    """Take pictures of TensorBoard."""
    with tempfile.TemporaryDirectory() as profile, chromium.browser(Path(profile), 1640, 1150) as browser:
        with chromium.tensorboard(SCRATCH / RUN.parent, browser, HERE / "tensorboard") as board:
            board.visit("custom_scalars&_smoothingWeight=0", {"by step", "loss", "accuracy", "learning rate"})
            board.screenshot("custom_scalars", settle_s=5)
            board.visit("images", {"confusion/val", "confusion/test"})
            board.click("Show actual image size")
            board.screenshot("images", settle_s=5)
        with chromium.tensorboard(SCRATCH / SWEEP, browser, HERE / "tensorboard") as board:
            board.visit("hparams", {"Trial ID", "optimizer", "lr", "test/acc"})
            for constant in ("activation", "batch_size", "data", "dropout"):  # what varies is to be seen
                board.click(constant)
            for varied in ("lr", "optimizer"):
                board.click(varied)
            board.click("Parallel Coordinates View")
            board.screenshot("hparams", settle_s=5)


if __name__ == "__main__":
    main()
