"""Draw the pictures of the pages again, from scratch: `make pictures` (2 minutes on two cores; needs Chromium).

Trains the runs in build/pictures, and prints each command with its output, as quoted in the pages. The screenshots
are taken by the browser tests.

Example: python scripts/pictures/make.py
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
SCRATCH, SCREENSHOTS = PROJECT / "build" / "pictures", PROJECT / "build" / "screenshots"
RUN, SWEEP = Path("outputs/mnist/tutorial"), Path("outputs/sweeps/pictures")

COMMANDS = (
    "scripts/show.py data.normalize=unit",
    f"train.py experiment=mnist_512x2_rmsprop hydra.run.dir={RUN}",
    f"scripts/evaluate.py {RUN}",
    f"scripts/predict.py {RUN} --test 0 8 --picture",
    f"scripts/draw.py {RUN} --no-open",
    "scripts/show.py data=fashion",
    "train.py -m model.hidden=32,128,512 optimizer=adam,rmsprop,sgd optimizer.lr=0.001,0.01 trainer.max_epochs=2"
    f" sweep_name={SWEEP.name}",
)
DATA, TENSORBOARD = SCRATCH / "outputs/data", "tensorboard-{}.png"
DRAWN = {
    "examples.png": DATA / "mnist/examples.png",
    "pixels.png": DATA / "mnist/pixels.png",
    "fashion.png": DATA / "fashion/examples.png",
    **{f"{name}.png": SCRATCH / RUN / f"{name}.png" for name in ("curves", "confusion", "mistakes", "predictions")},
    **{name: SCREENSHOTS / name for name in map(TENSORBOARD.format, ("custom_scalars", "images", "hparams"))},
    "draw.png": SCREENSHOTS / "draw.png",
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        sys.exit("chromium and chromedriver are needed; on Debian: apt-get install chromium chromium-driver")
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    for command in COMMANDS:
        print(f"\n$ python {command}", flush=True)
        script, *arguments = shlex.split(command)
        run([sys.executable, PROJECT / script, *arguments], SCRATCH)
    browse = ["tests/monitoring/test_in_browser.py", "tests/draw/test_draw_page.py", "-k", "of_the_readme"]
    run([sys.executable, "-m", "pytest", "--quiet", *browse], PROJECT)
    for name, drawn in DRAWN.items():
        shutil.copy(drawn, HERE / name)
    print(f"\n{len(DRAWN)} pictures in {HERE.relative_to(PROJECT)}")


def run(command: list[str | Path], folder: Path) -> None:
    subprocess.run(command, cwd=folder, env={**os.environ, "COLUMNS": "120"}, check=True)


if __name__ == "__main__":
    main()
