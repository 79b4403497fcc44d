"""Time an epoch of MNIST: this project, a bare PyTorch loop, and plain Lightning over torchvision's data set.

    python scripts/benchmark.py --rounds 3 --out outputs/benchmark.json

Each is a process of its own on one core, and they take turns, so that what slows the machine down slows all of them.
The second epoch is timed; the first one warms up.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
IMPORTS = "import torch, torchvision, lightning"


@dataclass(frozen=True)
class Recipe:
    hidden: tuple[int, ...]
    dropout: float
    optimizer: str
    batch_size: int


RECIPES = {
    "784-128-10, Adam, batch 32": Recipe((128,), 0.0, "Adam", 32),
    "784-512-512-10, RMSprop, batch 128": Recipe((512, 512), 0.2, "RMSprop", 128),
}
CONTESTANTS = ("mlplab", "bare loop", "plain Lightning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=0, help="the core that all of them run on")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark.json"))
    parser.add_argument("--one", nargs=2, metavar=("CONTESTANT", "RECIPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        contestant, recipe = arguments.one
        print(json.dumps({"bare loop": bare_loop, "plain Lightning": plain_lightning}[contestant](RECIPES[recipe])))
        return
    report = {"machine": machine(), "rounds": arguments.rounds, "recipes": {}}
    for name in RECIPES:
        seconds: dict[str, list[float]] = {contestant: [] for contestant in CONTESTANTS}
        memory: dict[str, list[float]] = {"mlplab": [], IMPORTS: []}
        for _ in range(arguments.rounds):
            for contestant in CONTESTANTS:
                epoch, peak = timed(contestant, name, arguments.core)
                seconds[contestant].append(epoch)
                if contestant == "mlplab":
                    memory["mlplab"].append(peak)
            memory[IMPORTS].append(run([sys.executable, "-c", IMPORTS], arguments.core)[1])
        medians = {contestant: statistics.median(values) for contestant, values in seconds.items()}
        report["recipes"][name] = {"epoch_s": seconds, "median_epoch_s": medians, "peak_memory_mb": memory}
        show(name, seconds, memory)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {arguments.out}")


def show(name: str, seconds: dict[str, list[float]], memory: dict[str, list[float]]) -> None:
    ours = statistics.median(seconds["mlplab"])
    print(f"\n{name}: seconds per epoch of 60,000 images, median of {len(seconds['mlplab'])}")
    for contestant, values in seconds.items():
        median = statistics.median(values)
        times = "" if contestant == "mlplab" else f"   mlplab takes {ours / median:.2f} times that"
        print(f"  {contestant:16} {median:6.2f}{times}")
    peak, imports = (statistics.median(memory[key]) for key in ("mlplab", IMPORTS))
    print(f"  peak memory {peak:,.0f} MB; {IMPORTS!r} alone takes {imports:,.0f} MB")


def timed(contestant: str, recipe: str, core: int) -> tuple[float, float]:
    """Seconds of an epoch, and peak memory of the process in MB."""
    if contestant != "mlplab":
        output, peak = run([sys.executable, __file__, "--one", contestant, recipe], core)
        return float(json.loads(output.splitlines()[-1])), peak
    chosen = RECIPES[recipe]
    with tempfile.TemporaryDirectory() as folder:
        _, peak = run(
            [
                sys.executable,
                str(TRAIN),
                f"model.hidden=[{','.join(map(str, chosen.hidden))}]",
                f"model.dropout={chosen.dropout}",
                f"optimizer={chosen.optimizer.lower()}",
                f"data.batch_size={chosen.batch_size}",
                "data.val_size=0",
                "trainer.max_epochs=2",
                "trainer.accelerator=cpu",
                "trainer.enable_progress_bar=true",
                f"hydra.run.dir={folder}/run",
            ],
            core,
        )
        result = json.loads(Path(folder, "run", "result.json").read_text(encoding="utf-8"))
    return float(result["history"][1]["seconds"]), peak


def run(command: list[str], core: int) -> tuple[str, float]:
    """Standard output, and peak memory in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # inherited by the process
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as process,
    ):
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read().decode()}")
    return output, usage.ru_maxrss / 1024


def machine() -> dict[str, Any]:
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}


def bare_loop(recipe: Recipe) -> float:
    """The same network over tensors in memory: what PyTorch itself costs."""
    import torch

    from mlplab import datasets
    from mlplab.mlp import MLP

    dataset = datasets.load("mnist", data_root())
    images = (dataset.train_images / 255 - dataset.info.mean) / dataset.info.std
    labels = dataset.train_labels
    network = MLP(recipe.hidden, recipe.dropout)
    fused = {"fused": True} if recipe.optimizer == "Adam" else {}
    optimizer = getattr(torch.optim, recipe.optimizer)(network.parameters(), lr=1e-3, **fused)
    for _ in range(2):
        started = time.perf_counter()
        for rows in torch.randperm(len(images)).split(recipe.batch_size):
            loss = torch.nn.functional.cross_entropy(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - started


def plain_lightning(recipe: Recipe) -> float:
    """What most projects do: a transform for each image, one image at a time."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from mlplab.mlp import MLP

    class Plain(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = MLP(recipe.hidden, recipe.dropout)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            images, labels = batch
            loss = torch.nn.functional.cross_entropy(self.network(images), labels)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return getattr(torch.optim, recipe.optimizer)(self.parameters(), lr=1e-3)

        def on_train_epoch_start(self) -> None:
            self.started = time.perf_counter()

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    loader = DataLoader(datasets.MNIST(data_root(), transform=transform), recipe.batch_size, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        module = Plain()
        Trainer(max_epochs=2, accelerator="cpu", devices=1, default_root_dir=folder).fit(module, loader)
        return time.perf_counter() - module.started


def data_root() -> Path:
    return Path(os.environ.get("MLPLAB_DATA", "~/.cache/mlplab")).expanduser()


if __name__ == "__main__":
    main()
